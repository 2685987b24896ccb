"""Muster's token endpoint: OAuth 2.0 client credentials for SCIM clients."""

"""Webhooks: changes and notices, sent to the application's endpoints until they have them."""

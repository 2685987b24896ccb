"""Webhooks: what happened, sent to the application's endpoints until they have it."""

"""A client of Muster: what a user may do, a copy of everybody's access that misses no change,
decisions, and the check of webhooks."""

from muster_client.access import Access
from muster_client.copy import Change, Copy, User
from muster_client.webhooks import InvalidWebhook, verify_webhook

__all__ = ["Access", "Change", "Copy", "InvalidWebhook", "User", "verify_webhook"]

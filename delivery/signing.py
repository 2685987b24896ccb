"""Signing messages: Standard Webhooks 1.0, the symmetric scheme `v1`
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
"""

import base64
import hmac
from collections.abc import Iterable
from datetime import datetime

from delivery.endpoints import Endpoint
from trust.signing import Keys

PURPOSE = "webhook"
"""The purpose of the keys that secrets are derived from."""
DOCUMENT = "webhook-secret"
"""Document id of the secret behind these keys. It is separate from the secret of sessions and
cursors, so that receivers accept messages also after that one is replaced."""


def secret_of(root: bytes, endpoint_id: str, version: int) -> bytes:
    """The secret of one version of an endpoint's key: 32 bytes."""
    return hmac.digest(root, f"{endpoint_id}:{version}".encode(), "sha256")


def secrets_of(roots: Keys, endpoint: Endpoint, now: datetime) -> list[bytes]:
    """The secrets of all keys that sign now, the newest first."""
    return [
        secret_of(root, endpoint.endpoint_id, key.version)
        for key in endpoint.live_keys(now)
        for root in roots
    ]


def shown(secret: bytes) -> str:
    """A secret in the form that a receiver is given."""
    return f"whsec_{base64.b64encode(secret).decode()}"


def headers(message_id: str, at: datetime, body: bytes, secrets: Iterable[bytes]) -> dict[str, str]:
    """The headers of one attempt, with a signature by each secret."""
    seconds = str(int(at.timestamp()))
    signed = f"{message_id}.{seconds}.".encode() + body
    digests = [hmac.digest(secret, signed, "sha256") for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(d).decode()}" for d in digests),
    }

"""The check of a webhook, by Standard Webhooks 1.0
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)."""

import base64
import binascii
import hmac
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

TOLERANCE_SECONDS = 5 * 60
"""How old a message may be, and how far the sender's clock may be ahead."""
SECRET_BYTES = 24
"""The least length of a secret."""
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


class InvalidWebhook(Exception):
    """The message is not from Muster, or is too old: answer 400, and ignore its content."""


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secrets: str | Sequence[str],
    *,
    now: float | None = None,
) -> dict[str, Any]:
    """The content of a message (`type`, `timestamp`, `data`), after verifying that Muster signed it
    with one of the secrets (`whsec_…`; two during a rotation). `body` is the raw body; `now` is in
    Unix seconds. A message may come twice, with the same `webhook-id`; for `access.changed` the
    `version` decides. Raises InvalidWebhook; ValueError for a malformed secret, or for none at all.
    """
    keys = [_key(secret) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    if not keys:
        raise ValueError("Without a secret no webhook can be verified: give the endpoint's.")
    sent = {name.lower(): value for name, value in headers.items()}
    id, timestamp = sent.get("webhook-id", ""), sent.get("webhook-timestamp", "")
    if not id:
        raise InvalidWebhook("There is no header webhook-id.")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise InvalidWebhook("The header webhook-timestamp is to be Unix seconds.")
    signed = f"{id}.{timestamp}.".encode(errors="surrogateescape") + body
    if not _proven(sent.get("webhook-signature", ""), [_signature(key, signed) for key in keys]):
        raise InvalidWebhook("No signature in webhook-signature is of this message and a secret.")
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE_SECONDS:
        raise InvalidWebhook("It was signed more than five minutes from now: compare the clocks.")
    try:
        message = json.loads(body)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise InvalidWebhook("The body is no JSON object.")
    return message


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < SECRET_BYTES:
        raise ValueError("A webhook's secret is whsec_ and base64, as `webhook create` shows it.")
    return key


def _signature(key: bytes, signed: bytes) -> bytes:
    return b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256"))


def _proven(header: str, expected: Sequence[bytes]) -> bool:
    """Whether a signature in the header is one of the expected ones, compared in constant time."""
    sent = [each.encode(errors="surrogateescape") for each in header.split()]
    equal = [hmac.compare_digest(one, other) for one in sent for other in expected]
    return any(equal)

"""`verify_webhook` takes what Muster signs, and nothing else."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from delivery.signing import headers, shown
from muster_client import InvalidWebhook, verify_webhook

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
OLD, NEW, OTHERS = (bytes([n]) * 32 for n in (1, 2, 3))
BODY = b'{"type":"test","data":{}}'
MESSAGE = {"type": "test", "data": {}}
type Sent = dict[str, str]


def sent(*secrets: bytes, body: bytes = BODY) -> Sent:
    """The headers of a message."""
    return headers("01m9", NOW, body, secrets or (NEW,))


@pytest.mark.parametrize(
    ("signed_with", "known"),
    [
        ([NEW], shown(NEW)),
        ([NEW], [shown(OLD), shown(NEW)]),
        ([NEW, OLD], [shown(OLD)]),
        ([NEW, OLD], [shown(NEW)]),
    ],
)
def test_what_muster_signs_is_proven(signed_with: list[bytes], known: str | list[str]) -> None:
    for name in (str.title, str.upper, str.lower):
        arrived = {name(header): value for header, value in sent(*signed_with).items()}
        for seconds in (-300, 0, 300):
            now = NOW.timestamp() + seconds
            assert verify_webhook(arrived, BODY, known, now=now) == MESSAGE


FORGERIES: dict[str, Callable[[Sent], Sent]] = {
    "another id": lambda h: h | {"webhook-id": "01m8"},
    "another time": lambda h: h | {"webhook-timestamp": str(int(NOW.timestamp()) + 1)},
    "no id": lambda _: headers("", NOW, BODY, [NEW]),
    "no time": lambda h: {k: v for k, v in h.items() if k != "webhook-timestamp"},
    "no signature": lambda h: {k: v for k, v in h.items() if k != "webhook-signature"},
    "an empty signature": lambda h: h | {"webhook-signature": "v1,"},
    "half a signature": lambda h: h | {"webhook-signature": h["webhook-signature"][:20]},
    "another version": lambda h: h | {"webhook-signature": "v2" + h["webhook-signature"][2:]},
    "no version": lambda h: h | {"webhook-signature": h["webhook-signature"].removeprefix("v1,")},
    "what is not ASCII": lambda h: h | {"webhook-signature": "v1,ä \udcff"},
    "an id that is not ASCII": lambda h: h | {"webhook-id": "\udcff"},
    "time with a sign": lambda h: h | {"webhook-timestamp": f"+{h['webhook-timestamp']}"},
    "time in other digits": lambda h: h | {"webhook-timestamp": "١٧٩٦٠٤٠٥٧٧"},
    "time without end": lambda h: h | {"webhook-timestamp": "9" * 5_000},
    "somebody else's secret": lambda _: sent(OTHERS),
    "no secret": lambda _: sent(b""),
    "another body": lambda _: sent(body=BODY + b" "),
}  # fmt: skip


@pytest.mark.parametrize("forged", FORGERIES.values(), ids=FORGERIES)
def test_forgeries_are_refused(forged: Callable[[Sent], Sent]) -> None:
    with pytest.raises(InvalidWebhook):
        verify_webhook(forged(sent()), BODY, [shown(NEW), shown(OLD)], now=NOW.timestamp())


@pytest.mark.parametrize("seconds", [-301, 301, 10**6])
def test_what_was_signed_at_another_time_is_refused(seconds: int) -> None:
    with pytest.raises(InvalidWebhook, match="five minutes"):
        verify_webhook(sent(), BODY, shown(NEW), now=NOW.timestamp() + seconds)
    with pytest.raises(InvalidWebhook, match="five minutes"):
        verify_webhook(
            headers("1", datetime(2020, 1, 1, tzinfo=UTC), BODY, [NEW]), BODY, shown(NEW)
        )


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"{"])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidWebhook, match="JSON"):
        verify_webhook(sent(body=body), body, shown(NEW), now=NOW.timestamp())


@pytest.mark.parametrize(
    "secrets", [[], "", "whsec_", "whsec_AAAA", "whsec_ä", "whsec_a", ["", shown(NEW)]]
)
def test_without_a_secret_nothing_is_proven(secrets: Any) -> None:
    """An empty secret would be one that everybody knows."""
    with pytest.raises(ValueError, match="secret"):
        verify_webhook(sent(b""), BODY, secrets, now=NOW.timestamp())

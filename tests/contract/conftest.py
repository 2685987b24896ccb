"""Pauses of Service Bus as short as its stand-in allows."""

import pytest

from queues.servicebus import queue, sender


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "RECEIVE_SECONDS", 1.0)
    monkeypatch.setattr(sender, "RETRY_SECONDS", 0.05)

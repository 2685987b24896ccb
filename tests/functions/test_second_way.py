"""Access comes though no message ever leaves: the timer of function_app.py is enough."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

import wiring
from administration.mappings import MappingFile
from queues.port import Message, QueueError
from tests.environment import running
from tests.triggers import functions

ENTITLEMENT = {"kind": "role", "key": "addInUser"}


class Away:
    """A queue or topic that never answers a send with success."""

    async def send(self, messages: Sequence[Message]) -> None:
        raise QueueError(f"{len(messages)} messages cannot be sent")

    async def close(self) -> None:
        """Nothing to release."""


async def test_the_timer_alone_turns_requests_into_access(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, relay_apply_seconds=0.001, relay_after_seconds=0) as muster:
        application = muster.application
        monkeypatch.setattr(application.relay, "_sender", Away())
        monkeypatch.setattr(application.relay, "_backoff", 0.0)
        monkeypatch.setattr(application.publisher, "_topic", Away())
        monkeypatch.setattr(wiring, "application", lambda: application)
        user = {
            "userName": "ada@example.com",
            "name": {"givenName": "Ada", "familyName": "Byron"},
            "emails": [{"type": "work", "value": "ada@example.com"}],
        }
        created = (await muster.client.post("/Users", json=user)).json()
        group = {"displayName": "Sales", "members": [{"value": created["id"]}]}
        sales = (await muster.client.post("/Groups", json=group)).json()
        mapping = {"groupId": sales["id"], "entitlements": [ENTITLEMENT]}
        await muster.mappings.load(MappingFile.model_validate({"mappings": [mapping]}))
        await asyncio.sleep(1.1)  # stored times are compared by the second
        await functions()["relay"].get_user_function()(None)
        access = (await muster.access.get(f"/users/{created['id']}")).json()
        assert access["enabled"] is True
        assert access["pending"] is False
        assert [grant["key"] for grant in access["grants"]] == ["addInUser"]

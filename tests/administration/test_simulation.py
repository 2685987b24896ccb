"""`manage.py simulate` plays the set-up that docs/entra.md asks for: what is matched by what, and
in which form it is sent."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from administration.reading.users import find_user
from laptop.simulation import command
from laptop.simulation.checking import Checking
from laptop.simulation.command import Script, simulate
from laptop.simulation.provisioning import Dialect, Provisioning
from laptop.simulation.report import show
from tests.environment import TENANT, Environment, running

FORMS: dict[Dialect, set[bool]] = {"both": {True, False}, "default": {False}, "flag": {True}}
"""Whether the ops of PATCH are in lower case, as the flag has them."""


class Recording(httpx.AsyncBaseTransport):
    """Sends to Muster in this process, which reconciles after each request."""

    def __init__(self, muster: Environment, app: Any) -> None:
        self.requests: list[httpx.Request] = []
        self._muster = muster
        self._inner = httpx.ASGITransport(app=app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = await self._inner.handle_async_request(request)
        await self._muster.settle()
        return answer

    def filters(self, path: str) -> set[str]:
        """The attributes that were asked for."""
        asked = [r.url.params.get("filter", "") for r in self.requests if r.url.path.endswith(path)]
        return {text.rpartition(" eq ")[0] for text in asked if text}

    def operations(self) -> list[dict[str, Any]]:
        """Every operation that was sent."""
        patches = [json.loads(r.content) for r in self.requests if r.method == "PATCH"]
        return [operation for patch in patches for operation in patch["Operations"]]


@pytest.mark.parametrize("dialect", FORMS)
async def test_one_user_made_by_hand_is_adopted_and_everybody_ends_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialect: Dialect
) -> None:
    async with running(tmp_path) as muster:
        entra = Recording(muster, muster.application.scim)
        reader = Recording(muster, muster.application.access)

        def through(kind: Any, transport: Recording) -> Any:
            def make(*given: Any, **named: Any) -> Any:
                made = kind(*given, **named)
                monkeypatch.setattr(made._client, "_transport", transport)
                return made

            return make

        monkeypatch.setattr(command, "Provisioning", through(Provisioning, entra))
        monkeypatch.setattr(command, "Checking", through(Checking, reader))
        script = Script(
            tenant_url="http://muster.test/scim",
            access_url="http://muster.test/access/v1",
            scim_token=muster.token,
            access_token=muster.access.headers["Authorization"].removeprefix("Bearer "),
            users=6,
            groups=3,
            cycles=1,
            changes=6,
            seed=7,
            dialect=dialect,
        )
        local = (muster.application, TENANT)
        summary = await simulate(script, Console(file=StringIO()), local)
        assert summary["wrong"] == 0
        (adopted,) = summary["adopted"]
        user = await find_user(muster.application.store, TENANT, adopted)
        assert (user.source, user.user_name) == ("scim", adopted)
        assert entra.filters("/Users") == {"externalId", 'emails[type eq "work"].value'}
        assert entra.filters("/Groups") == {"externalId"}
        assert {one["op"].islower() for one in entra.operations()} == FORMS[dialect]
        shown = StringIO()
        show(Console(file=shown, width=200), summary)
        assert "1 of them was there before" in shown.getvalue()

        again = await simulate(script, Console(file=StringIO()), local)
        assert again["adopted"] == []

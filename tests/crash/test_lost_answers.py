"""The simulated Entra ID goes on where a server did what it asked and died before it answered."""

from pathlib import Path

import httpx
import pytest

from laptop.simulation import provisioning
from laptop.simulation.organisation import Organisation
from laptop.simulation.provisioning import Provisioning
from tests.consistency import Directory, assert_consistent
from tests.environment import TENANT, Environment, running


class LosesAnswers(httpx.AsyncBaseTransport):
    """Carries every request to the application, and every second answer back."""

    def __init__(self, carrier: httpx.AsyncBaseTransport) -> None:
        self.carrier = carrier
        self.lost = 0
        self._loses = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self.carrier.handle_async_request(request)
        self._loses = not self._loses
        if self._loses:
            self.lost += 1
            raise httpx.ReadError("The connection was closed.", request=request)
        return answer


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has to start again."""
    monkeypatch.setattr(provisioning, "PAUSE", 0.001)


def job(muster: Environment, monkeypatch: pytest.MonkeyPatch) -> tuple[Provisioning, LosesAnswers]:
    """A provisioning job whose connection loses answers."""
    entra = Provisioning("http://muster.test/scim", muster.token)
    transport = LosesAnswers(httpx.ASGITransport(app=muster.application.scim))
    monkeypatch.setattr(entra._client, "_transport", transport)
    return entra, transport


async def test_what_was_done_is_not_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    organisation = Organisation(users=4, groups=2, seed=1)
    people = list(organisation.people.values())
    team, other = organisation.teams
    async with running(tmp_path) as muster:
        entra, transport = job(muster, monkeypatch)
        for person in people:
            await entra.provision_user(person)
        for each in (team, other):
            await entra.provision_group(each)
        await entra.add_members(team, people)
        await entra.remove_members(team, people[:1])
        people[1].active = False
        await entra.update_user(people[1])
        await entra.close()
        await muster.settle()
        await assert_consistent(muster.application.store, TENANT)
        found = await Directory.read(muster.application.store, TENANT)
        assert transport.lost > 8
        assert len(found.of("User")) == len(people)
        assert len(found.of("Group")) == 2
        members = {edge["memberId"] for edge in found.of("Membership").values()}
        assert members == {entra.links[person.object_id] for person in people[1:]}
        inactive = found.of("User")[f"user:{entra.links[people[1].object_id]}"]
        assert inactive["resource"]["active"] is False


async def test_a_server_that_is_not_there_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as muster:
        entra, transport = job(muster, monkeypatch)
        with pytest.raises(httpx.TransportError):
            await entra.test_connection()
        assert transport.lost == 1
        await entra.close()

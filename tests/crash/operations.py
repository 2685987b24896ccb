"""The writes that processes die at, and the state that they start from."""

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from administration.demo import TENANT, prepare_demo
from directory.documents import EntitlementKey
from scim.writing import Service
from settings import DATABASE
from tests.consistency import assert_consistent
from tests.crash import mortal
from tests.crash.mortal import process
from tests.emulators.cosmos import Facade
from tests.emulators.cosmos_container import Container
from tests.environment import Environment
from wiring import utc_now

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
OWNER = EntitlementKey(kind="role", key="owner")
USER_OF_ADD_IN = EntitlementKey(kind="role", key="addInUser")
PEOPLE = 14


def user(name: str) -> dict[str, Any]:
    """A complete user."""
    address = f"{name}@contoso.example"
    return {
        "schemas": [USER],
        "userName": address,
        "externalId": name,
        "name": {"givenName": name, "familyName": "Contoso"},
        "emails": [{"type": "work", "value": address}],
        "active": True,
    }


def group(name: str, members: list[dict[str, str]]) -> dict[str, Any]:
    """A group with these members."""
    return {"schemas": [GROUP], "displayName": name, "members": members}


@dataclass(frozen=True)
class Base:
    """State to start from, on disk: people; Crowd with eight of them, and Sales with three others
    and Crowd, both mapped; Back, mapped as well, is deleted. Ids by number and by name."""

    folder: Path
    users: list[str]
    groups: dict[str, str]
    facade: Facade | None = None
    """Has the store, where that is not in the folder, too."""
    container: Container | None = None
    """What the façade begins with."""

    def restored(self, folder: Path) -> Path:
        """The state to start from, in one place again and again."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder)
        if self.facade and self.container:
            self.facade.container = self.container.copy()
        return folder

    def patch(self, endpoint: str, id: str, *operations: dict[str, Any]) -> "Act":
        """A SCIM PATCH."""
        body = {"schemas": [PATCH], "Operations": list(operations)}
        return lambda muster: _status(muster.client.patch(f"{endpoint}/{id}", json=body))

    def members(self, *numbers: int) -> list[dict[str, str]]:
        """Users as values of `members`."""
        return [{"value": self.users[number]} for number in numbers]


type Act = Callable[[Environment], Awaitable[int]]
"""Plays a request and answers its status."""


async def _status(request: Awaitable[Any]) -> int:
    status: int = (await request).status_code
    return status


@dataclass(frozen=True)
class Operation:
    """A write: its status, and the one of its repetition."""

    act: Callable[[Base], Act]
    status: int
    repeated: int
    large: bool = False
    """Whether it takes several batches or messages."""


def _create_user(base: Base) -> Act:
    return lambda muster: _status(muster.client.post("/Users", json=user("new")))


def _create_crowd(base: Base) -> Act:
    body = group("New", base.members(*range(9)))
    return lambda muster: _status(muster.client.post("/Groups", json=body))


def _bring_back(base: Base) -> Act:
    body = group("Back", base.members(*range(9))) | {"externalId": "back"}
    return lambda muster: _status(muster.client.post("/Groups", json=body))


def _add_member(base: Base) -> Act:
    operation = {"op": "Add", "path": "members", "value": base.members(12)}
    return base.patch("/Groups", base.groups["Sales"], operation)


def exchange_members(base: Base) -> Act:
    """More than a batch holds: eight come, six go."""
    come = {"op": "Add", "path": "members", "value": base.members(*range(6, PEOPLE))}
    go = {"op": "Remove", "path": "members", "value": base.members(*range(6))}
    return base.patch("/Groups", base.groups["Crowd"], come, go)


def _replace_members(base: Base) -> Act:
    body = group("Crowd", base.members(0, *range(8, PEOPLE)))
    url = f"/Groups/{base.groups['Crowd']}"
    return lambda muster: _status(muster.client.put(url, json=body))


def _delete_user(base: Base) -> Act:
    return lambda muster: _status(muster.client.delete(f"/Users/{base.users[0]}"))


def _delete_group(base: Base) -> Act:
    return lambda muster: _status(muster.client.delete(f"/Groups/{base.groups['Crowd']}"))


def _rename_user(base: Base) -> Act:
    value = {"userName": "renamed@contoso.example", "externalId": "renamed"}
    return base.patch("/Users", base.users[0], {"op": "Replace", "value": value})


def _rename_group(base: Base) -> Act:
    operation = {"op": "Replace", "path": "displayName", "value": "Renamed"}
    return base.patch("/Groups", base.groups["Crowd"], operation)


def _deactivate(base: Base) -> Act:
    return base.patch(
        "/Users", base.users[0], {"op": "Replace", "path": "active", "value": "False"}
    )


def _map(base: Base) -> Act:
    """It takes Owner from everybody: one of them keeps it, and many lost something."""

    async def act(muster: Environment) -> int:
        await muster.mappings.save(base.groups["Sales"], (USER_OF_ADD_IN,))
        return 200

    return act


OPERATIONS = {
    "create a user": Operation(_create_user, 201, 409),
    "create a group with a crowd": Operation(_create_crowd, 201, 409, large=True),
    "bring back a group that gave something": Operation(_bring_back, 201, 409),
    "add a member": Operation(_add_member, 204, 204),
    "exchange a crowd of members": Operation(exchange_members, 204, 204, large=True),
    "replace a crowd of members": Operation(_replace_members, 200, 200, large=True),
    "delete a user": Operation(_delete_user, 204, 404),
    "delete a group": Operation(_delete_group, 204, 404, large=True),
    "rename a user": Operation(_rename_user, 200, 200),
    "rename a group": Operation(_rename_group, 204, 204),
    "deactivate a user": Operation(_deactivate, 200, 200),
    "save a mapping": Operation(_map, 200, 200, large=True),
}


async def prepare(folder: Path) -> Base:
    """Make the state to start from, settled."""
    store = mortal.open_store(folder / DATABASE)
    await prepare_demo(Service(store, lambda *_: None, utc_now, {}), folder, "eu")
    await store.close()
    base = Base(folder, [], {})
    async with process(folder) as muster:

        async def create(endpoint: str, body: dict[str, Any]) -> str:
            created: str = (await muster.client.post(endpoint, json=body)).json()["id"]
            return created

        for number in range(PEOPLE):
            base.users.append(await create("/Users", user(f"user{number}")))
        crowd = await create("/Groups", group("Crowd", base.members(*range(8))))
        members = [*base.members(9, 10, 11), {"value": crowd}]
        base.groups.update(Crowd=crowd, Sales=await create("/Groups", group("Sales", members)))
        await muster.mappings.save(crowd, (USER_OF_ADD_IN,))
        await muster.mappings.save(base.groups["Sales"], (OWNER,))
        gone = await create("/Groups", group("Back", []) | {"externalId": "back"})
        await muster.mappings.save(gone, (OWNER,))
        await muster.client.delete(f"/Groups/{gone}")
        await muster.settle()
        await assert_consistent(muster.application.store, TENANT)
    return base

"""`manage.py simulate`: its script, and how it is played."""

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from administration.catalog import list_catalog
from administration.errors import AdministrationError
from administration.manual_users import ManualUsers
from administration.mappings import Mappings
from administration.reading.users import find_user
from laptop.simulation.checking import Checking
from laptop.simulation.organisation import Organisation, Person, Team
from laptop.simulation.play import Entitlements, Play
from laptop.simulation.provisioning import Dialect, Provisioning, ProvisioningError
from laptop.simulation.report import report
from wiring import Application


@dataclass(frozen=True, slots=True)
class Script:
    """The size of a simulation and the Muster to play against. `seed` None: a new organisation each
    time."""

    tenant_url: str
    access_url: str
    scim_token: str
    access_token: str
    users: int
    groups: int
    cycles: int
    changes: int
    seed: int | None = None
    dialect: Dialect = "both"


async def simulate(
    script: Script, console: Console, local: tuple[Application, str] | None
) -> dict[str, Any]:
    """Play the script. `local` is the application on the server's store, and the tenant's id: it is
    used to map groups, as an administrator would, and to make one of the users by hand beforehand.
    Raises AdministrationError."""
    seed = random.getrandbits(32) if script.seed is None else script.seed
    organisation = Organisation(script.users, script.groups, seed)
    provisioning = Provisioning(script.tenant_url, script.scim_token, dialect=script.dialect)
    checking = Checking(script.access_url, script.access_token)
    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        play = Play(organisation, provisioning, checking, progress)
        try:
            if local:
                await _make_by_hand(*local, next(iter(organisation.people.values())))
            await play.initial_cycle(mapper(*local) if local else None)
            for number in range(1, script.cycles + 1):
                await play.day(number, script.changes)
            outcomes = await play.outcomes()
        except* ProvisioningError as errors:
            raise AdministrationError(str(errors.exceptions[0])) from None
        except* httpx.HTTPError as errors:
            raise AdministrationError(
                f"{script.tenant_url} does not answer ({errors.exceptions[0]!r}). Is Muster "
                "running there? 'make run' starts it."
            ) from None
        finally:
            await provisioning.close()
            await checking.close()
    return {"seed": seed, **report(play, outcomes)}


async def _make_by_hand(application: Application, tenant: str, person: Person) -> None:
    """Make a user by hand with another userName and without externalId. Entra ID will find the user
    by work e-mail, and adopt it."""
    legacy = f"legacy.{person.user_name}"
    for known in (legacy, person.user_name):
        with suppress(AdministrationError):
            await find_user(application.store, tenant, known)
            return  # the same organisation was played before
    attributes = {
        "userName": legacy,
        "name": {"givenName": person.given_name, "familyName": person.family_name},
        "emails": [{"type": "work", "value": person.user_name}],
    }
    await ManualUsers(application.service, tenant).create(attributes)
    await application.relay.drain()


def mapper(application: Application, tenant: str) -> Any:
    """Maps teams to the tenant's catalog in turn: every team gives one or two entitlements."""

    async def map_teams(teams: Sequence[tuple[Team, str]]) -> Mapping[str, Entitlements]:
        catalog = await list_catalog(application.store, tenant)
        mappings = Mappings(application.service, tenant)
        entitlements: dict[str, Entitlements] = {}
        for number, (team, group) in enumerate(teams):
            chosen = {(number * 2 + step) % len(catalog) for step in range(number % 2 + 1)}
            keys = [catalog[i].entitlement for i in chosen]
            await mappings.save(group, tuple(keys))
            entitlements[team.object_id] = frozenset(keys)
        await application.relay.drain()
        return entitlements

    return map_teams

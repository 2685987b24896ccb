"""The directory behind this Graph: people, groups and applications."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from laptop.simulation.organisation import Organisation

NON_GALLERY = "8adf8e6e-67b2-4cf2-a259-e3dc5476c621"
ROLES = [
    {
        "id": "18d14569-c3bd-439b-9a66-3a2aee01d14f",
        "displayName": "User",
        "allowedMemberTypes": ["User"],
        "isEnabled": True,
        "value": None,
    },
    {
        "id": "b9632174-c057-4f7e-951b-be3adc52bfe6",
        "displayName": "msiam_access",
        "allowedMemberTypes": ["User"],
        "isEnabled": True,
        "value": None,
    },
]


@dataclass
class Account:
    """A user object."""

    id: str
    principal_name: str
    mail: str | None
    given_name: str | None
    surname: str | None
    enabled: bool = True

    @property
    def source(self) -> dict[str, Any]:
        """The attributes by their names in provisioning schemas."""
        names = (self.given_name, self.surname)
        return {
            "objectId": self.id,
            "userPrincipalName": self.principal_name,
            "mail": self.mail,
            "mailNickname": self.principal_name.partition("@")[0],
            "givenName": self.given_name,
            "surname": self.surname,
            "displayName": " ".join(name for name in names if name),
            "accountEnabled": str(self.enabled),
        }

    @property
    def shown(self) -> dict[str, Any]:
        """As Graph shows it."""
        return {
            "id": self.id,
            "userPrincipalName": self.principal_name,
            "mail": self.mail,
            "givenName": self.given_name,
            "surname": self.surname,
            "accountEnabled": self.enabled,
        }


@dataclass
class Group:
    """A group with its direct members: object ids of accounts and of groups."""

    id: str
    name: str
    members: list[str] = field(default_factory=list)
    security: bool = True

    @property
    def shown(self) -> dict[str, Any]:
        """As Graph shows it."""
        return {"id": self.id, "displayName": self.name, "securityEnabled": self.security}


@dataclass
class Principal:
    """An Enterprise Application. Like Graph's replicated servers, this Graph finds it by id only
    from the time `usable` on, and lists it only from `listed` on."""

    id: str
    application: str
    name: str
    roles: list[dict[str, Any]]
    usable: float
    listed: float
    template: str | None = NON_GALLERY
    assignments: list[dict[str, Any]] = field(default_factory=list)

    @property
    def shown(self) -> dict[str, Any]:
        """As Graph shows it."""
        return {
            "id": self.id,
            "appId": self.application,
            "displayName": self.name,
            "appRoles": self.roles,
            "applicationTemplateId": self.template,
        }


class Directory:
    """The directory of one customer."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.groups: dict[str, Group] = {}
        self.principals: dict[str, Principal] = {}

    @classmethod
    def of(cls, organisation: Organisation) -> "Directory":
        """The directory of a simulated organisation."""
        directory = cls()
        for one in organisation.people.values():
            directory.accounts[one.object_id] = Account(
                one.object_id,
                one.user_name,
                one.user_name,
                one.given_name,
                one.family_name,
                one.active,
            )
        for team in organisation.teams:
            members = sorted(team.members)
            directory.groups[team.object_id] = Group(team.object_id, team.display_name, members)
        return directory

    def below(self, group: str, seen: set[str] | None = None) -> Iterator[str]:
        """Ids of direct and nested members, each once."""
        seen = seen if seen is not None else {group}
        for member in self.groups[group].members:
            if member not in seen:
                seen.add(member)
                yield member
                if member in self.groups:
                    yield from self.below(member, seen)

    def assigned_groups(self, principal: Principal) -> list[Group]:
        """The assigned groups that are provisioned: security groups."""
        ids = [one["principalId"] for one in principal.assignments]
        return [self.groups[id] for id in ids if id in self.groups and self.groups[id].security]

    def assigned_accounts(self, principal: Principal) -> dict[str, Account]:
        """Accounts that are assigned, and direct members of assigned groups."""
        ids = {one["principalId"] for one in principal.assignments}
        for group in self.assigned_groups(principal):
            ids |= set(group.members)
        return {id: self.accounts[id] for id in ids if id in self.accounts}

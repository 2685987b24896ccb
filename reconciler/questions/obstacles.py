"""What stands between a user and an entitlement, and what somebody can do about it."""

from dataclasses import dataclass
from typing import Literal

from directory.reasons import REASON_TEXTS, Reason
from reconciler.questions.causes import Cause

type ObstacleKind = Literal[
    "disabled",
    "notAdopted",
    "notMember",
    "noGroupMapped",
    "costCenterDiffers",
    "costCenterOff",
    "appRolesDiffer",
    "appRolesOff",
    "notInCatalog",
    "mappingNotApplied",
    "recordLags",
]


@dataclass(frozen=True, slots=True)
class NamedGroup:
    """A group, as people know it."""

    group_id: str
    name: str | None
    """None: the group is gone."""

    def __str__(self) -> str:
        return self.name or self.group_id


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One obstacle; fields that its kind does not need are empty."""

    kind: ObstacleKind
    reasons: tuple[Reason, ...] = ()
    """For `disabled`."""
    groups: tuple[NamedGroup, ...] = ()
    """For `notMember`: groups that each give it. For `mappingNotApplied`: the mapped group."""
    more: bool = False
    """Whether there are more groups than are listed."""
    causes: tuple[Cause, ...] = ()
    """For `mappingNotApplied` and `recordLags`: events that are not done."""

    @property
    def text(self) -> str:
        """For people: what it is and what to do."""
        groups = ", ".join(f"“{group}”" for group in self.groups) + (", …" if self.more else "")
        match self.kind:
            case "disabled":
                return " ".join(REASON_TEXTS[reason].remedy for reason in self.reasons)
            case "notAdopted":
                return (
                    "The user was made by hand: groups count once Entra ID provisions the user "
                    "and writes externalId."
                )
            case "notMember":
                return f"The user is in none of the groups that give it: {groups}."
            case "noGroupMapped":
                return "No group is mapped to it."
            case "costCenterDiffers":
                return "The user's costCenter attribute in Entra ID does not name it."
            case "costCenterOff":
                return (
                    "The user's costCenter attribute names it, but the tenant's policy does not "
                    "let that attribute grant anything: switch costCenterFromAttribute on."
                )
            case "appRolesDiffer":
                return "The user's app roles in Entra ID do not name it, by its key or by its name."
            case "appRolesOff":
                return (
                    "The user's app roles name it, but the tenant's policy does not let them grant "
                    "anything: switch appRoles on."
                )
            case "notInCatalog":
                return "The tenant's catalog does not have it: load it first."
            case "mappingNotApplied":
                return f"The mapping of {groups} is saved and not applied yet. {self._events()}"
            case "recordLags":
                return f"The access record lags behind the directory. {self._events()}"

    def _events(self) -> str:
        events = [cause.event for cause in self.causes if cause.event is not None]
        failed = [event for event in events if event.state == "failed"]
        if failed:
            return f"Its event failed ({failed[0].reason}): replay it."
        if self.causes:
            return "Its event waits in the queue."
        return "No event is open that would bring it up to date: Muster's operator repairs it."

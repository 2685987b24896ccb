"""Groups, their members, and what they give."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from administration.catalog import MOST_ENTITLEMENTS
from administration.group_import import GroupImport, ImportFile, parse_import
from administration.mappings import Mappings, refuse_too_many, takes_any
from administration.reading import groups as reading
from administration.reading import members
from administration.reading.groups import GroupOverview
from administration.reading.previews import read_preview
from administration.remembered import NotRemembered, RememberedMappings, list_remembered
from console.api.models import (
    Continued,
    Entitled,
    NamedEntitlement,
    Paged,
    PreviewAnswer,
    Search,
    keys_of,
)
from console.api.operation import Call
from console.api.problems import absent
from directory.lanes import apart
from directory.reasons import Reason
from reconciler.questions.proposal import MappingProposal
from web.operation import Answer, Body, Operation, Parameters
from web.problems import Problem

type Entitlements = Annotated[tuple[Entitled, ...], Field(max_length=MOST_ENTITLEMENTS)]


class Group(Answer):
    """A group. `done` and `total` count users while changes are applied; `total` is 0 while it is
    not known."""

    group_id: str
    display_name: str
    external_id: str | None
    connection_id: str | None
    """The connection that it belongs to; null for an imported group until Entra ID writes it."""
    source: Literal["scim", "manual"]
    status: Literal["New", "Waiting for sync", "Applying changes", "Active"]
    done: int
    total: int
    failed: tuple[str, ...]
    """Events about the group that could not be applied."""
    members: int
    """Direct members."""
    version: int | None
    """The mapping's version; null: there is no mapping."""
    applied_version: int | None
    given_again_from: AwareDatetime | None
    """Where the mapping was remembered from a deleted group: when that group was deleted. null once
    the mapping is saved."""
    entitlements: tuple[NamedEntitlement, ...]


class GroupQuery(Paged):
    """Which groups."""

    q: Search = ""
    """A text that their names contain."""


class Groups(Answer):
    """A page of groups, by name."""

    groups: tuple[Group, ...]
    next_cursor: str | None


class Member(Answer):
    """A direct member."""

    id: str
    type: Literal["User", "Group"]
    name: str
    enabled: bool | None
    """Whether a user is enabled; null for a group."""
    reasons: tuple[Reason, ...]
    """Why a user is not enabled."""
    unreadable: bool
    """Whether the stored record of the user's access cannot be read; then tell the operator."""


class Members(Answer):
    """A page of members, in no order that means anything."""

    members: tuple[Member, ...]
    next_cursor: str | None


class Mapping(Answer):
    """What the members of a group get."""

    group_id: str
    version: int
    """0: there is no mapping yet."""
    applied_version: int
    """The version that has been applied to everybody."""
    entitlements: tuple[NamedEntitlement, ...]

    @property
    def etag(self) -> str:
        """The version."""
        return f'"{self.version}"'


class RememberedMapping(Answer):
    """What a deleted group gave. It is given again when the same connection provisions a group with
    this externalId before `forgottenAt`."""

    group_id: str
    """The SCIM id that the group had."""
    display_name: str
    external_id: str
    connection_id: str
    version: int
    entitlements: tuple[NamedEntitlement, ...]
    deleted_at: AwareDatetime
    forgotten_at: AwareDatetime


class RememberedMappingsPage(Answer):
    """A page of mappings of deleted groups, in no order that means anything."""

    mappings: tuple[RememberedMapping, ...]
    next_cursor: str | None


class ProposedMapping(Body):
    """Exactly what the members would get."""

    entitlements: Entitlements
    cursor: str | None = None
    """`nextCursor` of the page before; empty: the first page."""


class SavedMapping(Body):
    """Exactly what the members get. Send the version that you read in `version`, in If-Match, or in
    both."""

    entitlements: Entitlements
    version: Annotated[int, Field(ge=0)] | None = None
    """The version that was read, 0 where there was none."""
    confirmed: bool = False
    """Save it even if nobody would hold the role Owner."""


class ImportQuery(Parameters):
    """How to import."""

    dry_run: bool = False
    """Only say what would change."""


class ImportedGroup(Answer):
    """What the import did, or would do, to one group."""

    external_id: str
    display_name: str
    group_id: str | None
    """null: it would be new."""
    outcome: Literal["new", "updated", "unchanged", "unreadable"]
    """unreadable: the stored group cannot be read, so it was left as it is."""
    changed: tuple[str, ...]


class Imported(Answer):
    """What the import did, or would do."""

    groups: tuple[ImportedGroup, ...]


async def list_groups(call: Call[GroupQuery, None]) -> Groups:
    """Groups by name, with their status and what they give."""
    query = call.query
    after = call.pages.continuation(query.cursor)
    page = await reading.list_groups(call.store, call.tenant_id, query.q, after, query.limit)
    groups = tuple(Group.model_validate(one) for one in page.rows)
    return Groups(groups=groups, next_cursor=call.pages.cursor(page.next))


async def read_group(call: Call[Parameters, None]) -> Group:
    """One group."""
    return Group.model_validate(await _known(call))


async def list_members(call: Call[Continued, None]) -> Members:
    """The direct members of a group."""
    group = (await _known(call)).group_id
    after = call.pages.continuation(call.query.cursor)
    policy = call.tenant.policy
    page = await members.list_members(call.store, call.tenant_id, group, policy, after)
    found = tuple(_member(one) for one in page.rows)
    return Members(members=found, next_cursor=call.pages.cursor(page.next))


async def read_mapping(call: Call[Parameters, None]) -> Mapping:
    """What the members of a group get. The ETag is the version."""
    return _mapping(await _known(call))


async def preview_mapping(call: Call[Parameters, ProposedMapping]) -> PreviewAnswer:
    """Exactly who would gain and lose what, before anything is saved."""
    found = await _known(call)
    wanted = keys_of(call.body.entitlements)
    await refuse_too_many(call.store, call.tenant_id, found.group_id, wanted)
    page = await read_preview(
        call.store,
        call.tenant_id,
        MappingProposal({found.group_id: wanted}),
        call.preview_cursor(call.body.cursor),
        takes=takes_any(found.gives, wanted),
    )
    return call.previewed(page)


async def save_mapping(call: Call[Parameters, SavedMapping]) -> Mapping:
    """Save what the members of a group get, as a new version. It is applied to the members
    afterwards; the group's status says how far. 412 or 409 where somebody else saved meanwhile."""
    found = await _known(call)
    had = found.version or 0
    version = _matched(call.if_match, had) if call.if_match else call.body.version
    if version is None:
        raise Problem(
            428,
            "Say which version of the mapping you read, so that nobody's change is overwritten: in "
            "If-Match (its ETag), or in `version` (0 where there was none).",
        )
    if call.body.version not in (None, version):
        raise Problem(409, f"`version` is {call.body.version}, and If-Match says {version}.")
    await call.changing(Mappings).edit(
        found.group_id,
        found.gives,
        keys_of(call.body.entitlements),
        version,
        confirmed=call.body.confirmed,
    )
    return _mapping(await _known(call))


async def list_remembered_mappings(call: Call[Paged, None]) -> RememberedMappingsPage:
    """What groups deleted within the last 30 days gave, and will give again if they come back."""
    after = call.pages.continuation(call.query.cursor)
    page = await list_remembered(call.store, call.tenant_id, after, call.query.limit)
    mappings = tuple(RememberedMapping.model_validate(one) for one in page.rows)
    return RememberedMappingsPage(mappings=mappings, next_cursor=call.pages.cursor(page.next))


async def forget_remembered_mapping(call: Call[Parameters, None]) -> None:
    """Forget what a deleted group gave: if it comes back, it gives nothing."""
    try:
        await call.changing(RememberedMappings).forget(call.path["groupId"])
    except NotRemembered as gone:
        raise Problem(404, str(gone)) from None


async def import_groups(call: Call[ImportQuery, None]) -> Imported:
    """Create groups of an earlier integration with what they give, by externalId. They wait for
    Entra ID, which brings their members. Importing the same again changes nothing. CSV has the
    columns externalId, displayName, kind, key, and a line for each entitlement of a group."""
    file = await apart(call.tenant_id, len(call.content), lambda: parse_import(call.content))
    done = await call.changing(GroupImport).load(file, dry_run=call.query.dry_run)
    return Imported(groups=tuple(ImportedGroup.model_validate(one) for one in done))


async def _known[Q, B](call: Call[Q, B]) -> GroupOverview:
    """The group that the path names. Raises Problem."""
    found = await reading.read_group(call.store, call.tenant_id, call.path["groupId"])
    if found is None:
        raise absent("group")
    return found


def _matched(if_match: str, version: int) -> int:
    """The version that If-Match names, which must be this one (RFC 9110 section 13.1.1)."""
    named = [each.strip().strip('"') for each in if_match.split(",")]
    if "*" not in named and str(version) not in named:
        raise Problem(
            412,
            f"The mapping has version {version} now, which If-Match does not name: somebody else "
            "saved it, or it is not the ETag of this mapping. Read it again.",
        )
    return version


def _mapping(found: GroupOverview) -> Mapping:
    entitlements = tuple(NamedEntitlement.model_validate(one) for one in found.entitlements)
    return Mapping(
        group_id=found.group_id,
        version=found.version or 0,
        applied_version=found.applied_version or 0,
        entitlements=entitlements,
    )


def _member(one: members.Member) -> Member:
    return Member(
        id=one.id,
        type="User" if one.type == "User" else "Group",
        name=one.name,
        enabled=one.access.enabled if one.access else None,
        reasons=one.access.reasons if one.access else (),
        unreadable=one.unreadable,
    )


_MAPPING = "/groups/{groupId}/mapping"
OPERATIONS = (
    Operation("GET", "/groups", list_groups, Groups, GroupQuery),
    Operation(
        "GET", "/remembered-mappings", list_remembered_mappings, RememberedMappingsPage, Paged
    ),
    Operation(
        "DELETE",
        "/remembered-mappings/{groupId}",
        forget_remembered_mapping,
        None,
        status=204,
    ),
    Operation("POST", "/groups/import", import_groups, Imported, ImportQuery, file=ImportFile),
    Operation("GET", "/groups/{groupId}", read_group, Group),
    Operation("GET", "/groups/{groupId}/members", list_members, Members, Continued),
    Operation("GET", _MAPPING, read_mapping, Mapping),
    Operation("PUT", _MAPPING, save_mapping, Mapping, body=SavedMapping, conditional=True),
    Operation("POST", f"{_MAPPING}/preview", preview_mapping, PreviewAnswer, body=ProposedMapping),
)

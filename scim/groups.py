"""/Groups: the use cases (RFC 7644 sections 3.3 to 3.6).

A group document holds no members. A membership is an edge of its own, so that adding one costs
the same in a group of ten and in a group of 100,000; only a request that asks for the members, or
replaces all of them, reads them.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import batched
from typing import Any, Literal

from directory import membership_change
from directory.condition import Compare, Condition, OneOf
from directory.documents import (
    Event,
    Membership,
    MembershipChange,
    group_id,
    membership_id,
    new_resource_id,
)
from directory.reading import TooManyFound, at_most, every
from directory.store import (
    READ_MANY,
    Assign,
    Create,
    Delete,
    Document,
    Operation,
    Query,
    Replace,
    Stored,
    Throttled,
    Unavailable,
    Update,
)
from scim.computing import apart, compute
from scim.exchange import Answer, Request
from scim.failure import unfinished
from scim.membership import (
    FILTERED_LIMIT,
    PAGE,
    SHOWN_LIMIT,
    Delta,
    delta,
    too_many_filtered,
    too_many_shown,
)
from scim.protocol import entra, patch
from scim.protocol.binding import Related, related, resolve
from scim.protocol.errors import Forbidden, InvalidValue
from scim.protocol.members import AddMembers, MemberStep, ReplaceMembers, members_of, split
from scim.protocol.representation import Projection
from scim.protocol.validation import Changed, Normalised, differences, normalise, replacement
from scim.protocol.work import Work
from scim.reservations import reserve
from scim.resources import Resources
from scim.selection import Selection

BATCH_EDGES = 90
"""More changed memberships than this do not go in one batch beside the group, its reservations
and the event (100 operations)."""


class Groups(Resources):
    """What a client can do with groups."""

    scope_of_delete = "group"

    async def create(self, request: Request) -> Answer:
        """Create a group (RFC 7644 section 3.3), with the members that the body names."""
        request.require_provisioning()
        projection = self.projection(request)
        normal, members = await self._normal(request)
        tenant_id = request.tenant.tenant_id
        resource_id = new_resource_id()
        resource = {**normal.resource, "id": resource_id}
        base = {
            "tenantId": tenant_id,
            "source": "scim",
            "connectionId": request.caller.connection_id,
        }
        document = self.document(base, resource, self.stamp())

        async def attempt() -> Answer:
            steps = [AddMembers(members)]
            changes = await delta(self.service.store, tenant_id, resource_id, steps, request.work)
            names = differences(self.type, {}, normal.resource)
            event = self._event(request, "create", resource_id, names, normal.ignored, changes)
            stored = await self._write(request, None, document, event, changes)
            answer = await self.present_written(request, stored, projection)
            return Answer(201, answer, self.headers(request, stored))

        return await self.retrying(attempt)

    async def replace(self, request: Request, resource_id: str) -> Answer:
        """Replace a group (RFC 7644 section 3.5.1): what the body leaves out, members included,
        is cleared. Answers the group."""
        request.require_provisioning()
        projection = self.projection(request)
        normal, members = await self._normal(request)
        steps = [ReplaceMembers(members)]

        def change(resource: dict[str, Any], _: Work) -> Changed:
            return replacement(self.type, resource, normal)

        stored = await self._change(request, resource_id, "replace", change, steps)
        answer = await self.present_written(request, stored, projection)
        return Answer(200, answer, self.headers(request, stored))

    async def patch(self, request: Request, resource_id: str) -> Answer:
        """Change a group (RFC 7644 section 3.5.2), all operations or none. Answers 204, or the
        group where the request asks for `attributes`."""
        request.require_provisioning()
        projection = self.projection(request)
        others, steps = await compute(
            request.tenant.tenant_id,
            request.work,
            request.size,
            lambda work: split(self.type, entra.operations(request.body), work),
        )

        def change(resource: dict[str, Any], work: Work) -> Changed:
            return patch.apply(self.type, resource, others, work)

        stored = await self._change(request, resource_id, "patch", change, steps)
        if "attributes" not in request.parameters:
            return Answer(204, None, self.headers(request, stored))
        answer = await self.present_written(request, stored, projection)
        return Answer(200, answer, self.headers(request, stored))

    async def _normal(self, request: Request) -> tuple[Normalised, tuple[str, ...]]:
        """The resource in the body of a POST or PUT, and the ids of its members."""

        def read() -> tuple[Normalised, tuple[str, ...]]:
            body, members = members_of(entra.resource(request.body))
            return normalise(self.type, body), members or ()

        return await apart(request.tenant.tenant_id, request.size, read)

    def check_owner(self, request: Request, stored: Stored) -> None:
        """A group belongs to the connection that provisioned it first (product, section 2)."""
        owner = stored.document.get("connectionId")
        if owner and owner != request.caller.connection_id:
            names = {c.connection_id: c.name for c in request.tenant.connections}
            raise Forbidden(
                f'This group belongs to the connection "{names.get(owner, owner)}", which '
                "provisioned it first. Change it there, or unassign it there and let that "
                "connection delete it before this one takes it over."
            )

    async def _change(
        self,
        request: Request,
        resource_id: str,
        operation: Literal["replace", "patch"],
        change: Callable[[dict[str, Any], Work], Changed],
        steps: Sequence[MemberStep],
    ) -> Stored:
        tenant_id = request.tenant.tenant_id

        async def attempt() -> Stored:
            stored = await self._settled(request, resource_id)
            self.check_owner(request, stored)
            self.check_version(request, stored)
            patched = await self.changed(request, stored, change)
            changes = await delta(self.service.store, tenant_id, resource_id, steps, request.work)
            event = self._event(
                request, operation, resource_id, patched.changed, patched.ignored, changes
            )
            old = _provisioned(stored.document, request.caller.connection_id)
            if not event.attributes and old == stored.document:
                await self.commit([], event)
                return stored
            document = self.document(old, patched.resource, self.stamp())
            return await self._write(request, stored, document, event, changes)

        return await self.retrying(attempt)

    async def _settled(self, request: Request, resource_id: str) -> Stored:
        """The group, after any large membership change that an earlier request left unfinished."""
        stored = await self.read(request, resource_id)
        while unfinished := stored.document.get("intent"):
            await membership_change.finish(self.service.store, request.tenant.tenant_id, unfinished)
            stored = await self.read(request, resource_id)
        return stored

    def _event(
        self,
        request: Request,
        operation: Literal["create", "replace", "patch"],
        resource_id: str,
        changed: Sequence[str],
        ignored: Sequence[str],
        changes: Delta,
    ) -> Event:
        """The event of a write to a group, which refuses what the tenant's policy refuses."""
        if changes.unknown and request.tenant.policy.strict:
            raise InvalidValue(
                f"members: no user or group has the id {changes.unknown[0][:100]}"
                + (f" (and {len(changes.unknown) - 1} more)" if len(changes.unknown) > 1 else "")
                + ". Nothing was changed. It may have been deleted; provision it first."
            )
        self.refuse_ignored(request, ignored)
        unknown = [f'members[value eq "{member[:100]}"]' for member in changes.unknown]
        whole = changes.size <= BATCH_EDGES
        membership = MembershipChange(
            added=changes.added, removed=changes.removed, applied=changes.size if whole else 0
        )
        return self.event(
            request,
            operation,
            resource_id,
            scope="members" if changes.size else "none",
            attributes=[*changed, *(["members"] if changes.size else [])],
            ignored=[*ignored, *unknown],
            membership=membership if changes.size else None,
        )

    async def _write(
        self,
        request: Request,
        stored: Stored | None,
        document: Document,
        event: Event,
        changes: Delta,
    ) -> Stored:
        """Commit the group, its memberships and the event; answers the group as it is then.

        A change too big for one batch commits the event with the list of members first, and the
        group names it as its `intent`; then it is carried out before the answer. Should the
        process die on the way, or the store fail, the reconciler or the next writer finishes it.
        """
        tenant_id = request.tenant.tenant_id
        old = stored.document["resource"] if stored else {}
        reservations = reserve(tenant_id, self.type, event.resource_id, old, document["resource"])
        if changes.size <= BATCH_EDGES:
            write = _write_of(stored, document, event, conditional=bool(request.if_match))
            operations = [write, *reservations, *_edges(event, changes)]
            etags = await self.commit(operations, event)
            return Stored(document, etags[0] or "")
        document = {**document, "intent": event.event_id}
        write = _write_of(stored, document, event, conditional=True)
        await self.commit([write, *reservations], event)
        try:
            await membership_change.finish(self.service.store, tenant_id, event.event_id)
            return await self.read(request, event.resource_id)
        except (Throttled, Unavailable) as error:
            raise unfinished(error) from error

    async def present(
        self, request: Request, items: Sequence[Stored], projection: Projection
    ) -> list[dict[str, Any]]:
        """Groups, with their members unless the request leaves them out."""
        resources = [self.rendered(request, stored, projection) for stored in items]
        if resources and projection.wants("members"):
            groups = [stored.document["resource"]["id"] for stored in items]
            for members, resource in zip(
                await self._members_of(request, groups), resources, strict=True
            ):
                if members:
                    resource |= projection.apply({"members": members})
        return resources

    async def _members_of(
        self, request: Request, groups: Sequence[str]
    ) -> list[list[dict[str, Any]]]:
        """The members of each group as RFC 7643 section 4.2 shows them, in order of their ids; a
        membership whose user or group is gone is none."""
        store, tenant_id = self.service.store, request.tenant.tenant_id
        edges: list[list[Document]] = []
        left = SHOWN_LIMIT
        for group in groups:
            query = Query("Membership", Compare(("groupId",), "eq", group), limit=PAGE)
            try:
                edges.append(await at_most(left, every(store, tenant_id, query)))
            except TooManyFound:
                raise too_many_shown("members") from None
            left -= len(edges[-1])
        shown = await self._names(
            tenant_id, {_member_id(edge): None for each in edges for edge in each}
        )

        def members() -> list[list[dict[str, Any]]]:
            return [
                [
                    _member(request.base_url, edge, shown[_member_id(edge)])
                    for edge in each
                    if _member_id(edge) in shown
                ]
                for each in edges
            ]

        return await apart(tenant_id, SHOWN_LIMIT - left, members)

    async def _names(self, tenant_id: str, ids: Iterable[str]) -> dict[str, str | None]:
        """Document id → what the user or group is shown as; those that are gone are left out."""
        names: dict[str, str | None] = {}
        for some in batched(ids, READ_MANY, strict=False):
            for id, stored in (await self.service.store.read_many(tenant_id, some)).items():
                resource = stored.document["resource"]
                names[id] = resource.get("displayName") or resource.get("userName")
        return names

    async def related(self, tenant_id: str, selection: Selection) -> Condition:
        """Conditions on `members` become the ids of the groups that have such a member."""
        answers: dict[Related, Condition] = {}
        left = FILTERED_LIMIT
        for question in related(selection.filter):
            query = Query("Membership", question.condition, limit=PAGE)
            try:
                edges = await at_most(left, every(self.service.store, tenant_id, query))
            except TooManyFound:
                raise too_many_filtered() from None
            left -= len(edges)
            found = await self._names(tenant_id, {_member_id(edge): None for edge in edges})
            groups = {group_id(edge["groupId"]) for edge in edges if _member_id(edge) in found}
            answers[question] = OneOf(("id",), tuple(sorted(groups)))
        return resolve(selection.filter, answers)


def _provisioned(document: Document, connection_id: str) -> Document:
    """A stored group that this connection writes to: one that was imported or made by hand is
    provisioned from now on, and belongs to the first connection that does."""
    owner = document.get("connectionId") or connection_id
    return {**document, "source": "scim", "connectionId": owner}


def _write_of(
    stored: Stored | None, document: Document, event: Event, *, conditional: bool
) -> Operation:
    """How the group's document is written. A change of memberships alone moves its version
    without a condition, so that parallel ones do not fight; that fails where the group is gone."""
    if stored is None:
        return Create(document)
    if set(event.attributes) != {"members"}:
        return Replace(document, stored.etag)
    changes = [
        Assign(("modified",), document["modified"]),
        Assign(("search", "meta", "lastModified"), document["search"]["meta"]["lastModified"]),
    ]
    changes += [
        Assign((name,), document[name])
        for name in ("source", "connectionId", "intent")
        if name in document and document[name] != stored.document.get(name)
    ]
    return Update(document["id"], tuple(changes), stored.etag if conditional else None)


def _edges(event: Event, changes: Delta) -> list[Operation]:
    operations: list[Operation] = []
    for document_id in changes.added:
        kind, _, member = document_id.partition(":")
        edge = Membership(
            tenant_id=event.tenant_id,
            group_id=event.resource_id,
            member_id=member,
            member_type="User" if kind == "user" else "Group",
            since=event.at,
            event_id=event.event_id,
        )
        operations.append(Create(edge.to_document()))
    for document_id in changes.removed:
        member = document_id.partition(":")[2]
        operations.append(Delete(membership_id(event.resource_id, member)))
    return operations


def _member_id(edge: Document) -> str:
    """The id of the document of the user or group that is the member."""
    return f"{edge['memberType'].lower()}:{edge['memberId']}"


def _member(base_url: str, edge: Document, display: str | None) -> dict[str, Any]:
    kind = edge["memberType"]
    member = {
        "value": edge["memberId"],
        "$ref": f"{base_url}/{kind}s/{edge['memberId']}",
        "type": kind,
    }
    return member | ({"display": display} if display else {})

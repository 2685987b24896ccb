"""/Groups: the use cases (RFC 7644 sections 3.3 to 3.6).

A group document holds no members. A membership is a separate document (an edge), so that adding one
costs the same in a group of ten and in a group of 100,000. Only a request that asks for the
members, or replaces all of them, reads them.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from directory import membership_change
from directory.condition import Compare, Condition, OneOf
from directory.documents import (
    Event,
    MemberReference,
    Membership,
    MembershipChange,
    group_id,
    membership_id,
    new_resource_id,
)
from directory.lanes import apart
from directory.reading import TooManyFound, memberships, readable, reading_all
from directory.resources import StoredGroup, StoredResource
from directory.store import (
    Assign,
    Conflict,
    Create,
    Delete,
    Document,
    Operation,
    Query,
    Replace,
    Require,
    Throttled,
    Unavailable,
    Update,
)
from scim.computing import compute
from scim.exchange import Answer, Request
from scim.failure import unfinished
from scim.membership import (
    MEMBERS_FILTERED_LIMIT,
    PAGE,
    SHOWN_LIMIT,
    Delta,
    delta,
    supposed,
    too_many_filtered,
    too_many_shown,
)
from scim.protocol import entra, patch
from scim.protocol.binding import Related, related, resolve
from scim.protocol.errors import Forbidden, InvalidValue
from scim.protocol.etags import weak
from scim.protocol.members import AddMembers, MemberStep, ReplaceMembers, members_of, split
from scim.protocol.validation import Changed, differences, normalise, replacement
from scim.remembering import give_again, remember
from scim.resources import Content, Edit, LookedUp, Resources
from scim.selection import Selection
from scim.writing import LostRace

MAPPING = "mapping"
"""Added to the event's attributes where a group that came back gets its former mapping again."""
_USUAL_RESERVATIONS = 2
"""One is created and one deleted: a group reserves either its externalId or its displayName."""


class Groups(Resources):
    """What a client can do with groups."""

    scope_of_delete = "group"
    looked_up = "members"

    async def create(self, request: Request, content: Content | None = None) -> Answer:
        """Create a group (RFC 7644 section 3.3), with the members that the body names."""
        request.require_provisioning()
        projection = self.projection(request)
        normal, members = content or await self.content(request)
        tenant_id = request.tenant.tenant_id
        resource_id = new_resource_id()
        resource = {**normal.resource, "id": resource_id}
        document = self.document(self.base(request), resource, self.stamp())

        async def attempt() -> StoredResource:
            steps = [AddMembers(members)]
            changes = await delta(self.service.store, tenant_id, resource_id, steps, request.work)
            names = differences(self.type, {}, normal.resource)
            event = self._event(request, "create", resource_id, names, normal.ignored, changes)
            try:
                also = await give_again(self.service.store, StoredGroup(document, ""), event)
            except Conflict as conflict:
                raise await self.in_the_way(tenant_id, conflict) from None
            if any(isinstance(operation, Create) for operation in also):
                event = event.model_copy(update={"attributes": (*event.attributes, MAPPING)})
            return await self._write(request, None, document, event, changes, also)

        stored = await self.retrying(attempt)
        return await self.answer_written(request, 201, stored, projection)

    async def replace(self, request: Request, resource_id: str) -> Answer:
        """Replace a group (RFC 7644 section 3.5.1): attributes that the body leaves out, including
        members, are cleared. Answers the group."""
        request.require_provisioning()
        projection = self.projection(request)
        normal, members = await self.content(request)
        stored = await self._change(
            request,
            resource_id,
            "replace",
            lambda resource, _: replacement(self.type, resource, normal),
            [ReplaceMembers(members)],
        )
        return await self.answer_written(request, 200, stored, projection)

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
        stored = await self._change(
            request,
            resource_id,
            "patch",
            lambda resource, work: patch.apply(self.type, resource, others, work),
            steps,
        )
        if "attributes" not in request.parameters:
            return Answer(204, None, self.headers(request, resource_id, weak(stored.etag)))
        return await self.answer_written(request, 200, stored, projection)

    def meant(self, body: object) -> Content:
        """See Resources."""
        group, members = members_of(entra.resource(self.type, body))
        return Content(normalise(self.type, group), members or ())

    def check_owner(self, request: Request, stored: StoredResource) -> None:
        """A group belongs to the connection that provisioned it first (product, section 2)."""
        owner = stored.connection_id
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
        edit: Edit,
        steps: Sequence[MemberStep],
    ) -> StoredResource:
        async def write(stored: StoredResource, changed: Changed) -> StoredResource:
            likely = None if changed.changed else supposed(steps)
            if likely is not None:
                proofs = [Require(member.document_id) for member in likely.changed]
                with suppress(LostRace):  # a supposition was wrong: look the members up
                    return await commit(stored, changed, likely, proofs)
            found = await delta(
                self.service.store, stored.tenant_id, resource_id, steps, request.work
            )
            return await commit(stored, changed, found)

        async def commit(
            stored: StoredResource,
            changed: Changed,
            changes: Delta,
            proofs: Sequence[Operation] = (),
        ) -> StoredResource:
            event = self._event(
                request, operation, resource_id, changed.changed, changed.ignored, changes
            )
            old = _provisioned(stored.document, request.caller.connection_id)
            if not event.attributes and old == stored.document:
                await self.commit([], event)
                return stored
            document = self.document(old, changed.resource, self.stamp())
            return await self._write(request, stored, document, event, changes, proofs)

        return await self.change(request, resource_id, edit, write)

    async def current(self, request: Request, resource_id: str) -> StoredResource:
        """The group, after finishing any large membership change that an earlier request left."""
        stored = await self.read(request, resource_id)
        while unfinished := StoredGroup.of(stored).intent:
            await self._finish(request, unfinished)
            stored = await self.read(request, resource_id)
        return stored

    async def removed_with(
        self, request: Request, stored: StoredResource, /
    ) -> Sequence[Operation]:
        """Operations that remove the group's mapping, and remember it in case the group comes
        back."""
        owner = stored.connection_id or request.caller.connection_id
        return await remember(self.service.store, StoredGroup.of(stored), owner, self.service.now())

    def _event(
        self,
        request: Request,
        operation: Literal["create", "replace", "patch"],
        resource_id: str,
        changed: Sequence[str],
        ignored: Sequence[str],
        changes: Delta,
    ) -> Event:
        """The event of a write to a group. Raises InvalidValue for unknown members and attributes
        where the tenant's policy is strict."""
        if changes.unknown and request.tenant.policy.strict:
            raise InvalidValue(
                f"members: no user or group has the id {changes.unknown[0][:100]}"
                + (f" (and {len(changes.unknown) - 1} more)" if len(changes.unknown) > 1 else "")
                + ". Nothing was changed. It may have been deleted; provision it first."
            )
        self.refuse_ignored(request, ignored)
        unknown = [f'members[value eq "{member[:100]}"]' for member in changes.unknown]
        membership = MembershipChange.of(changes.added, changes.removed)
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
        stored: StoredResource | None,
        document: Document,
        event: Event,
        changes: Delta,
        also: Sequence[Operation] = (),
    ) -> StoredResource:
        """Commit the group, its memberships, the event and the operations in `also`; returns the
        group as stored then.

        A change too big for one batch first commits the event with the list of members, and the
        group names it as its `intent`; the memberships are written after that, before the answer.
        If the process dies or the store fails, the reconciler or the next writer finishes it.
        """
        before = stored.document if stored else {}
        reservations = await self.reservations(before, document)
        edges = changes.size + max(0, len(reservations) - _USUAL_RESERVATIONS)
        if edges <= self.service.portions.edges_beside_group:
            event = _applied(event, changes)
            write = _write_of(stored, document, event, conditional=bool(request.if_match))
            operations = [write, *reservations, *also, *_edges(event, changes)]
            etags = await self.commit(operations, event)
            return StoredResource(document, etags[0] or "")
        document = {**document, "intent": event.event_id}
        write = _write_of(stored, document, event, conditional=True)
        await self.commit([write, *reservations, *also], event)
        try:
            await self._finish(request, event.event_id)
            return await self.read(request, event.resource_id)
        except (Throttled, Unavailable) as error:
            raise unfinished(error) from error

    async def _finish(self, request: Request, event: str) -> None:
        """Write the rest of a large membership change; `event` is its ULID. Raises StoreError."""
        service = self.service
        await membership_change.finish(
            service.store,
            request.tenant.tenant_id,
            event,
            service.now,
            edges_per_batch=service.portions.edges_per_batch,
        )

    async def look_up(
        self, request: Request, items: Sequence[StoredResource]
    ) -> Sequence[LookedUp]:
        """The members of the groups, in order of their ids. Raises TooMany."""
        store, tenant_id = self.service.store, request.tenant.tenant_id
        members: list[list[MemberReference]] = []
        left = SHOWN_LIMIT
        for one in items:
            query = Query("Membership", Compare(("groupId",), "eq", one.id), limit=PAGE)
            try:
                edges = await memberships(store, tenant_id, query, left)
            except TooManyFound:
                raise too_many_shown("members") from None
            members.append([edge.member for edge in edges])
            left -= len(edges)
        ids = dict.fromkeys(member.document_id for each in members for member in each)
        names: dict[str, str | None] = {}
        async for some in reading_all(store, tenant_id, list(ids)):
            for id, stored in readable(some).items():
                resource = StoredResource.of(stored).resource
                names[id] = resource.get("displayName") or resource.get("userName")
        return await apart(
            tenant_id,
            SHOWN_LIMIT - left,
            lambda: [_members(request.base_url, each, names) for each in members],
        )

    async def related(self, tenant_id: str, selection: Selection) -> Condition:
        """Conditions on `members` become the ids of the groups that have such a member."""
        answers: dict[Related, Condition] = {}
        left = MEMBERS_FILTERED_LIMIT
        for question in related(selection.filter):
            query = Query("Membership", question.condition, limit=PAGE)
            try:
                edges = await memberships(self.service.store, tenant_id, query, left)
            except TooManyFound:
                raise too_many_filtered(MEMBERS_FILTERED_LIMIT) from None
            left -= len(edges)
            ids = dict.fromkeys(edge.member.document_id for edge in edges)
            found: set[str] = set()
            async for some in reading_all(self.service.store, tenant_id, list(ids)):
                found |= some.keys()
            live = (edge for edge in edges if edge.member.document_id in found)
            groups = {group_id(edge.group_id) for edge in live}
            answers[question] = OneOf(("id",), tuple(sorted(groups)))
        return resolve(selection.filter, answers)


def _provisioned(document: Document, connection_id: str) -> Document:
    """A stored group that this connection writes to. An imported or manual group counts as
    provisioned from now on, and belongs to the first connection that provisions it."""
    owner = document.get("connectionId") or connection_id
    return {**document, "source": "scim", "connectionId": owner}


def _write_of(
    stored: StoredResource | None, document: Document, event: Event, *, conditional: bool
) -> Operation:
    """The write of the group's document. A change of memberships alone updates its version without
    a condition, so that parallel changes do not conflict; it fails where the group is gone."""
    if stored is None:
        return Create(document)
    if set(event.attributes) != {"members"}:
        return Replace(document, stored.etag)
    changes = [
        Assign((name,), document[name])
        for name in ("source", "connectionId", "intent")
        if name in document and document[name] != stored.document.get(name)
    ]
    return Update(
        document["id"],
        (*membership_change.moved(document["modified"]), *changes),
        stored.etag if conditional else None,
    )


def _applied(event: Event, changes: Delta) -> Event:
    """The event of a write that has all of its memberships in the same batch."""
    if event.membership is None:
        return event
    whole = event.membership.model_copy(update={"applied": changes.size})
    return event.model_copy(update={"membership": whole})


def _edges(event: Event, changes: Delta) -> list[Operation]:
    come = (Membership.brought_by(event, member) for member in changes.added)
    return [
        *(Create(membership.to_document()) for membership in come),
        *(Delete(membership_id(event.resource_id, member.id)) for member in changes.removed),
    ]


def _members(
    base_url: str, members: Sequence[MemberReference], names: Mapping[str, str | None]
) -> LookedUp:
    """The members of a group in the form of RFC 7643 section 4.2, without memberships whose user or
    group is gone (`names` lacks it).

    The group's version covers its memberships, but not the members' names, nor a deletion of a
    member before the reconciler has removed the membership.
    """
    ids = [member.document_id for member in members]
    shown = [
        _member(base_url, member, names[id])
        for member, id in zip(members, ids, strict=True)
        if id in names
    ]
    gone = [id for id in ids if id not in names]
    return LookedUp(shown, lambda shown: [*(one for one in shown if "display" in one), *gone])


def _member(base_url: str, member: MemberReference, display: str | None) -> dict[str, Any]:
    type, id = member
    shown = {"value": id, "$ref": f"{base_url}/{type}s/{id}", "type": type}
    return shown | ({"display": display} if display else {})

"""What the use cases of users and groups share: reading, searching, deleting, and the checks and
events of writes."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from directory.condition import Compare, Condition, Either
from directory.documents import Actor, Event, Key, MembershipChange, is_resource_id, key_id
from directory.lanes import apart
from directory.resources import StoredResource
from directory.store import Document, NotFound, Operation
from scim.computing import compute
from scim.exchange import Answer, Request
from scim.protocol.errors import InvalidValue, PreconditionUnmet, ResourceNotFound, TooMany
from scim.protocol.etags import names_answer, names_version, weak
from scim.protocol.projection import Projection
from scim.protocol.representation import list_response, render
from scim.protocol.schema import ResourceType
from scim.protocol.validation import Changed, Normalised
from scim.protocol.work import Work
from scim.selection import Selection
from scim.walking import Walks
from scim.writing import Service, Writing
from trust.signing import SigningKeys
from web.cursor import Cursor


@dataclass(frozen=True, slots=True)
class Presented:
    """A resource in the form that a request asks for, and the entity tag of this form."""

    body: dict[str, Any]
    tag: str


@dataclass(frozen=True, slots=True)
class LookedUp:
    """An attribute of a resource that is stored in other documents: the elements to show, and
    `beyond`, which returns the part of the shown elements that the resource's version does not
    cover."""

    shown: list[dict[str, Any]]
    beyond: Callable[[list[dict[str, Any]]], Sequence[Any]]


class Content(NamedTuple):
    """What the body of a POST or PUT means: a resource, and the ids of a group's members."""

    normal: Normalised
    members: tuple[str, ...] = ()


type Edit = Callable[[dict[str, Any], Work], Changed]
"""Computes a changed resource from the stored one, counting the cost."""
type Write = Callable[[StoredResource, Changed], Awaitable[StoredResource]]
"""Commits the changed resource; returns it as stored then."""


class Resources(Writing, ABC):
    """The use cases that are the same for every resource type."""

    scope_of_delete: Literal["user", "group"]
    looked_up: str
    """The attribute that answers show and that is stored in other documents."""

    def __init__(self, service: Service, resource_type: ResourceType) -> None:
        super().__init__(service, resource_type)
        self._keys = SigningKeys(service.store, service.now)
        self._walks = Walks(service.store, resource_type.name)

    def base(self, request: Request) -> Document:
        """The fields of a new document beside the resource itself."""
        return {
            "tenantId": request.tenant.tenant_id,
            "source": "scim",
            "connectionId": request.caller.connection_id,
        }

    def location(self, request: Request, resource_id: str) -> str:
        """The resource's URL under the base that the client uses."""
        return f"{request.base_url}{self.type.endpoint}/{resource_id}"

    async def present(
        self, request: Request, items: Sequence[StoredResource], projection: Projection
    ) -> list[Presented]:
        """The resources in the form that this request asks for. Raises TooMany where they have more
        memberships than one answer may hold."""
        bodies = [self._rendered(request, stored, projection) for stored in items]
        if not bodies or not projection.wants(self.looked_up):
            pairs = zip(bodies, items, strict=True)
            return [Presented(body, weak(stored.etag)) for body, stored in pairs]
        found = await self.look_up(request, items)

        def presented() -> list[Presented]:
            triples = zip(bodies, items, found, strict=True)
            return [self._with_looked_up(*each, projection) for each in triples]

        return await apart(
            request.tenant.tenant_id, sum(len(each.shown) for each in found), presented
        )

    def _with_looked_up(
        self, body: dict[str, Any], stored: StoredResource, found: LookedUp, projection: Projection
    ) -> Presented:
        shown = projection.apply({self.looked_up: found.shown} if found.shown else {})
        tag = weak(stored.etag, found.beyond(shown.get(self.looked_up, [])))
        if "version" in body.get("meta", {}):
            shown["meta"] = {**body["meta"], "version": tag}
        return Presented({**body, **shown}, tag)

    async def present_written(
        self, request: Request, stored: StoredResource, projection: Projection
    ) -> Presented:
        """A resource after its write, without its memberships where they are too many to show: the
        write is done, so the request cannot be refused any more."""
        try:
            (shown,) = await self.present(request, [stored], projection)
        except TooMany:
            return Presented(self._rendered(request, stored, projection), weak(stored.etag))
        return shown

    async def answer_written(
        self, request: Request, status: int, stored: StoredResource, projection: Projection
    ) -> Answer:
        """The answer to a write that shows the resource."""
        shown = await self.present_written(request, stored, projection)
        return self.answer(request, status, stored.id, shown)

    @abstractmethod
    async def create(self, request: Request, content: Content | None = None) -> Answer:
        """Create a resource (RFC 7644 section 3.3). `content` is what the body means, where the
        caller has read it already."""

    @abstractmethod
    def meant(self, body: object) -> Content:
        """What the body of a POST or PUT means. Raises InvalidSyntax, InvalidValue."""

    async def content(self, request: Request) -> Content:
        """What the body of this POST or PUT means; a large one holds up nobody else. Raises as
        `meant`."""
        return await apart(request.tenant.tenant_id, request.size, lambda: self.meant(request.body))

    @abstractmethod
    async def look_up(
        self, request: Request, items: Sequence[StoredResource]
    ) -> Sequence[LookedUp]:
        """The attribute `looked_up` of each of these resources. Raises TooMany where it has more
        elements than one answer may hold."""

    @abstractmethod
    async def related(self, tenant_id: str, selection: Selection) -> Condition:
        """The selection's condition, with conditions on memberships looked up. Raises TooMany where
        there are too many memberships."""

    async def read(self, request: Request, resource_id: str) -> StoredResource:
        """The stored resource. Raises ResourceNotFound."""
        if not is_resource_id(resource_id):
            raise self.unknown(resource_id)
        try:
            found = await self.service.store.read(
                request.tenant.tenant_id, self.document_id(resource_id)
            )
        except NotFound:
            raise self.unknown(resource_id) from None
        return StoredResource.of(found)

    def unknown(self, resource_id: str) -> ResourceNotFound:
        """The 404 for an id that this tenant does not have."""
        return ResourceNotFound(
            f"There is no {self.type.name.lower()} with id {resource_id[:100]} in this "
            "organisation. It may have been deleted; Entra ID matches again and re-creates it."
        )

    async def get(self, request: Request, resource_id: str) -> Answer:
        """One resource (RFC 7644 section 3.4.1); 304 where If-None-Match names the answer's tag."""
        projection = self.projection(request)
        stored = await self.read(request, resource_id)
        (shown,) = await self.present(request, [stored], projection)
        if request.if_none_match and names_answer(request.if_none_match, shown.tag):
            return Answer(304, None, {"ETag": shown.tag})
        return self.answer(request, 200, resource_id, shown)

    async def search(self, request: Request) -> Answer:
        """A page of the resources that a filter selects (RFC 7644 section 3.4.2)."""
        projection = self.projection(request)
        selection = Selection.parse(self.type, request.parameters)
        tenant_id = request.tenant.tenant_id
        condition = await self.related(tenant_id, selection)
        if selection.cursor is not None:
            return await self._cursor_page(request, condition, selection, projection)
        unique = self._unique_match(condition)
        if unique and not (selection.order and len(unique) > 1):
            found = await self._owners(tenant_id, unique)
            total, items = len(found), found[selection.start_index - 1 :][: selection.count]
        else:
            total, items = await self._page(request, condition, selection)
        shown = await self.present(request, items, projection)
        resources = [one.body for one in shown]
        return Answer(200, list_response(resources, total, selection.start_index))

    async def _cursor_page(
        self,
        request: Request,
        condition: Condition,
        selection: Selection,
        projection: Projection,
    ) -> Answer:
        """A page by cursor (RFC 9865), at a cost that does not grow with the page number."""
        store, tenant_id = self.service.store, request.tenant.tenant_id
        purpose = f"{tenant_id} {self.type.name} {selection.question}"
        keys = await self._keys.keys("cursors")
        query = replace(selection.query(self.type.name, condition), offset=0)
        if selection.cursor:
            at = Cursor.read(selection.cursor, purpose, keys)
            query, total = replace(query, continuation=at.continuation), at.total
        else:
            total = await store.count(tenant_id, self.type.name, condition)
        if not query.limit:
            return Answer(200, list_response([], total, None))
        page = await store.query(tenant_id, query)
        items = [StoredResource.of(one) for one in page.items]
        shown = await self.present(request, items, projection)
        body = list_response([one.body for one in shown], total, None)
        if page.continuation is not None:
            body["nextCursor"] = Cursor(page.continuation, total).write(purpose, keys)
        return Answer(200, body)

    async def delete(self, request: Request, resource_id: str) -> Answer:
        """Remove the resource (RFC 7644 section 3.6). Its memberships are ignored from then on; the
        reconciler removes them and brings access up to date."""
        request.require_provisioning()

        async def attempt() -> Answer:
            stored = await self.read(request, resource_id)
            self.check_version(request, stored)
            self.check_owner(request, stored)
            event = self.event(request, "delete", resource_id, scope=self.scope_of_delete)
            await self.remove(stored, event, await self.removed_with(request, stored))
            return Answer(204)

        return await self.retrying(attempt)

    async def change(
        self, request: Request, resource_id: str, edit: Edit, write: Write
    ) -> StoredResource:
        """Do a PUT or PATCH: `edit` computes the changed resource and `write` commits it, both
        again where somebody else wrote meanwhile. Returns the resource as stored then. Raises what
        they raise, ResourceNotFound, Forbidden and PreconditionUnmet."""

        async def attempt() -> StoredResource:
            stored = await self.current(request, resource_id)
            self.check_owner(request, stored)
            self.check_version(request, stored)
            changed = await compute(
                request.tenant.tenant_id,
                request.work,
                request.size,
                lambda work: edit(stored.resource, work),
            )
            return await write(stored, changed)

        return await self.retrying(attempt)

    async def current(self, request: Request, resource_id: str) -> StoredResource:
        """The stored resource that a change starts from. Raises ResourceNotFound."""
        return await self.read(request, resource_id)

    @abstractmethod
    def check_owner(self, request: Request, stored: StoredResource) -> None:
        """Raises Forbidden where another connection owns the resource."""

    @abstractmethod
    async def removed_with(
        self, request: Request, stored: StoredResource, /
    ) -> Sequence[Operation]:
        """Further operations for the batch that removes a resource."""

    def check_version(self, request: Request, stored: StoredResource) -> None:
        """Raises PreconditionUnmet where If-Match names another version (RFC 7644 section 3.14)."""
        if request.if_match and not names_version(request.if_match, stored.etag):
            raise PreconditionUnmet(
                f"If-Match names a version of this {self.type.name.lower()} that is not the "
                f"current one ({weak(stored.etag)}). Read it again and repeat the change."
            )

    def projection(self, request: Request) -> Projection:
        """Which attributes this request wants to see."""
        return Projection.parse(
            self.type,
            request.parameters.get("attributes"),
            request.parameters.get("excludedAttributes"),
        )

    def _rendered(
        self, request: Request, stored: StoredResource, projection: Projection
    ) -> dict[str, Any]:
        """The projected resource, without attributes that are stored in other documents."""
        location = self.location(request, stored.id)
        return projection.apply(render(self.type, stored.document, stored.etag, location))

    def answer(self, request: Request, status: int, resource_id: str, shown: Presented) -> Answer:
        """The answer that shows a single resource."""
        return Answer(status, shown.body, self.headers(request, resource_id, shown.tag))

    def headers(self, request: Request, resource_id: str, tag: str) -> dict[str, str]:
        """ETag and Location of a single resource's answer."""
        return {"ETag": tag, "Location": self.location(request, resource_id)}

    def refuse_ignored(self, request: Request, ignored: Sequence[str]) -> None:
        """Raises InvalidValue in a strict tenant where the request carries unknown attributes."""
        if ignored and request.tenant.policy.strict:
            names = ", ".join(sorted(ignored)[:10])
            raise InvalidValue(
                f"This organisation's policy is strict, and Muster does not know: {names}. Remove "
                "them from the attribute mapping in Entra ID, or switch strict off in Muster."
            )

    def event(
        self,
        request: Request,
        operation: Literal["create", "replace", "patch", "delete"],
        resource_id: str,
        *,
        scope: Literal["none", "user", "members", "group"],
        attributes: Sequence[str] = (),
        ignored: Sequence[str] = (),
        membership: MembershipChange | None = None,
    ) -> Event:
        """The event of a write."""
        return self.service.ledger.accepted(
            request.tenant.tenant_id,
            Actor(type="connection", id=request.caller.connection_id),
            operation,
            "User" if self.type.name == "User" else "Group",
            resource_id,
            scope=scope,
            attributes=attributes,
            ignored=ignored,
            membership=membership,
            request_id=request.request_id,
        )

    def _unique_match(self, condition: Condition) -> list[tuple[str, str]]:
        """Attributes and values, where the condition asks for a reserved value, perhaps in several
        readings or comparable forms; otherwise nothing."""
        match condition:
            case Compare(("search", name), "eq", str(value)) if name in ("userName", "externalId"):
                return [(name, value)]
            case Either((one, other)):
                found = self._unique_match(one), self._unique_match(other)
                return [*found[0], *found[1]] if all(found) else []
        return []

    async def _owners(
        self, tenant_id: str, unique: Sequence[tuple[str, str]]
    ) -> list[StoredResource]:
        """The resources that hold reserved values, in order of their ids: two point reads for
        each, whatever the tenant's size."""
        owners: dict[str, StoredResource] = {}
        for attribute, value in unique:
            key = key_id(self.type.name, attribute, value)
            try:
                reserved = await self.service.store.read(tenant_id, key)
                owner = self.document_id(Key.from_document(reserved.document).resource_id)
                found = await self.service.store.read(tenant_id, owner)
                owners[owner] = StoredResource.of(found)
            except NotFound:
                continue
        return [owners[owner] for owner in sorted(owners)]

    async def _page(
        self, request: Request, condition: Condition, selection: Selection
    ) -> tuple[int, list[StoredResource]]:
        """How many results there are, and a page of them by index."""
        store, tenant_id = self.service.store, request.tenant.tenant_id
        query = selection.query(self.type.name, condition)
        if not query.limit:
            return await store.count(tenant_id, self.type.name, condition), []
        begin = await self._walks.begin_of(request, selection.question, selection.start_index)
        if begin:
            query = replace(query, offset=0, continuation=begin.continuation)
        page = await store.query(tenant_id, query)
        items = [StoredResource.of(one) for one in page.items]
        if items and page.continuation is None:
            return selection.start_index - 1 + len(items), items
        if begin:
            total = begin.total
        else:
            total = await store.count(tenant_id, self.type.name, condition)
        if page.continuation and (begin or selection.start_index == 1):
            end = Cursor(page.continuation, total)
            # Unreadable resources are left out, so clients may count on by either number.
            following = {selection.start_index + size for size in (query.limit, len(items))}
            await self._walks.ended(request, selection.question, following, end)
        return total, items

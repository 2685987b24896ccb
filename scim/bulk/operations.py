"""/Bulk: many operations in one request (RFC 7644 section 3.7).

Every operation is handled like a single request: validated, refused, written in one transaction
with its event. The events carry the request id of the bulk request, followed by a colon and the
operation's position.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from directory.lanes import LIGHT, apart
from scim.bulk.message import BulkOperation, BulkRequest, resolved, split
from scim.bulk.plan import Step, plan
from scim.exchange import Answer, Request, renewed
from scim.failure import failed
from scim.groups import Groups
from scim.protocol.errors import (
    InvalidSyntax,
    InvalidValue,
    MethodNotAllowed,
    ResourceNotFound,
    ScimError,
    UnresolvedReference,
)
from scim.reservations import unique_values
from scim.resources import Content
from scim.users import Users

BULK_RESPONSE = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
AT_ONCE = 16
"""How many POSTs run at the same time."""

_WITHOUT_MEMBERS = {"excludedAttributes": "members,groups"}
"""The answer does not show the resources, so their memberships need not be read."""
_ONLY_ID = {"attributes": "id"}
"""Nor need a POST's whole answer be made. A PATCH of a group would answer 200 instead of 204."""


class Bulk:
    """What a client can do with many resources at once; `resources` are the use cases by
    endpoint."""

    def __init__(self, resources: Mapping[str, Users | Groups]) -> None:
        self._resources = resources

    async def process(self, request: Request) -> Answer:
        """Process a bulk request; the answer has the result of each operation."""
        request.require_provisioning()
        message = await apart(
            request.tenant.tenant_id,
            request.size,
            lambda: BulkRequest.parse(request.body, request.base_url, self._resources),
        )
        results = await _Job(self._resources, request, message).results()
        return Answer(200, {"schemas": [BULK_RESPONSE], "Operations": results})


class _Job:
    """One bulk request that is being processed."""

    def __init__(
        self, resources: Mapping[str, Users | Groups], request: Request, message: BulkRequest
    ) -> None:
        self._resources = resources
        self._request = request
        self._message = message
        self._creators = {o.creates: o for o in message.operations if o.creates is not None}
        self._ids: dict[str, str] = {}
        """bulkId → id of the created resource."""
        self._contents: dict[int, Content] = {}
        """Position of a POST without references → what its data means, read once: to see what it
        claims, and to create it."""
        self._results: dict[int, dict[str, Any]] = {}
        self._failed: set[int] = set()

    async def results(self) -> list[dict[str, Any]]:
        """Run every operation, or until too many have failed; the results of those that began, in
        the order of the request."""
        steps = deque(plan(self._message.operations))
        while steps:
            await asyncio.gather(*(self._take(step) for step in self._next(steps)))
        return [result for _, result in sorted(self._results.items())]

    def _next(self, steps: deque[Step]) -> list[Step]:
        """The steps to take now: one, or several POSTs that do not affect each other."""
        together = [steps.popleft()]
        room = min(AT_ONCE, self._acceptable_errors)
        if room <= 1 or not _goes_together(together[0]):
            return together
        taken = self._claims(together[0])
        while steps and len(together) < room and _goes_together(steps[0]):
            claims = self._claims(steps[0])
            if taken & (claims | steps[0].operation.references):
                break
            taken |= claims
            together.append(steps.popleft())
        return together

    @property
    def _acceptable_errors(self) -> int:
        """How many more operations may fail. As many may run at once: then none begins after the
        last acceptable error."""
        limit = self._message.fail_on_errors
        return AT_ONCE if limit is None else limit - len(self._failed)

    def _claims(self, step: Step) -> frozenset[object]:
        """What a POST creates that other operations may refer to or also want: its bulkId and its
        unique values."""
        operation = step.operation
        claims: set[object] = {operation.creates}
        resources = self._resources.get(operation.endpoint or "")
        try:
            if resources:
                content = resources.meant(operation.data)
                values = unique_values(resources.type, content.normal.resource)
                claims |= {(operation.endpoint, *value) for value in values}
                if not operation.references:
                    self._contents[operation.position] = content
        except ScimError:
            pass  # it will be refused, and creates nothing
        return frozenset(claims)

    async def _take(self, step: Step) -> None:
        operation = step.operation
        if step.completes:
            if operation.creates not in self._ids:
                return
        elif self._acceptable_errors <= 0:
            return
        try:
            answer = await self._attempt(step)
        except Exception as error:  # noqa: BLE001 - other operations go on
            answer = failed(error, self._request_id(operation))
            if step.completes and answer.body:
                answer.body["detail"] = (
                    "The resource was created, but not everything that it refers to could be "
                    f"added. {answer.body['detail']}"
                )
        self._record(operation, answer)

    async def _attempt(self, step: Step) -> Answer:
        """Raises ScimError, StoreError."""
        work = self._complete if step.completes else self._perform
        try:
            return await work(step)
        except ScimError as refusal:
            again = await renewed(self._request, refusal)
            if again is None:
                raise
            self._request = again
            return await work(step)

    async def _perform(self, step: Step) -> Answer:
        """Do the operation like a single request. Raises ScimError, StoreError."""
        operation = step.operation
        resources = self._resources.get(operation.endpoint or "")
        if resources is None:
            raise ResourceNotFound(
                f"`{operation.path[:100]}` is no path for a bulk operation. POST goes to "
                f"{' or '.join(self._resources)}, everything else to a resource's own path, such "
                f"as {next(iter(self._resources))}/{{id}}."
            )
        _check(operation)
        if operation.method == "POST":
            data, _ = await self._split(operation, operation.data, step.left_out)
            request = await self._request_of(operation, data)
            answer = await resources.create(request, self._contents.get(operation.position))
            self._ids[operation.creates or ""] = str((answer.body or {})["id"])
            return answer
        id = operation.id or self._id_of(operation.id_reference or "")
        request = await self._request_of(operation, operation.data)
        match operation.method:
            case "PUT":
                return await resources.replace(request, id)
            case "PATCH":
                return await resources.patch(request, id)
            case "DELETE":
                return await resources.delete(request, id)

    async def _complete(self, step: Step) -> Answer:
        """Add to a resource what was left out when it was created. Raises ScimError, StoreError."""
        operation = step.operation
        missing = {bulk_id for bulk_id in step.left_out if bulk_id not in self._ids}
        _, left_out = await self._split(operation, operation.data, step.left_out)
        found, _ = await self._split(operation, left_out, missing)
        answer = Answer(201)
        if missing != step.left_out:
            body = {"Operations": [{"op": "add", "value": found}]}
            resources = self._resources[operation.endpoint or ""]
            answer = await resources.patch(
                await self._request_of(operation, body), self._ids[operation.creates or ""]
            )
        for bulk_id in sorted(missing):
            self._id_of(bulk_id)
        return Answer(201, None, answer.headers)

    def _id_of(self, bulk_id: str) -> str:
        """The id of the resource that another operation created. Raises InvalidValue where no
        operation has the bulkId, UnresolvedReference where that operation did not succeed."""
        if bulk_id in self._ids:
            return self._ids[bulk_id]
        creator = self._creators.get(bulk_id)
        if creator is None:
            raise InvalidValue(
                f'The operation refers to the bulkId "{bulk_id[:100]}", and no POST of this bulk '
                "request has it."
            )
        raise UnresolvedReference(
            f'The operation refers to the bulkId "{bulk_id[:100]}", and '
            f"Operations[{creator.position}], which should create it, did not succeed. Mend that "
            "one first."
        )

    async def _split(
        self, operation: BulkOperation, data: Any, left_out: Collection[str]
    ) -> tuple[Any, Any]:
        tenant_id = self._request.tenant.tenant_id
        return await apart(tenant_id, operation.size, lambda: split(data, left_out))

    async def _request_of(self, operation: BulkOperation, data: Any) -> Request:
        """The request that the operation stands for. Raises as `_id_of`."""
        body, posts = data, operation.method == "POST"
        if operation.references:
            tenant_id = self._request.tenant.tenant_id
            body = await apart(tenant_id, operation.size, lambda: resolved(data, self._id_of))
        return replace(
            self._request,
            request_id=self._request_id(operation),
            parameters=_ONLY_ID if posts else _WITHOUT_MEMBERS,
            if_match=None if posts else operation.version,
            if_none_match=None,
            body=body,
            size=operation.size,
        )

    def _request_id(self, operation: BulkOperation) -> str:
        return f"{self._request.request_id}:{operation.position}"

    def _record(self, operation: BulkOperation, answer: Answer) -> None:
        """Keep the result of an operation in the form of RFC 7644 section 3.7.3."""
        result: dict[str, Any] = {"method": operation.method, "status": str(answer.status)}
        if operation.bulk_id is not None:
            result["bulkId"] = operation.bulk_id
        id = operation.id if operation.method != "POST" else None
        id = id or self._ids.get(operation.creates or operation.id_reference or "")
        if id is not None and operation.endpoint is not None:
            resources = self._resources[operation.endpoint]
            result["location"] = resources.location(self._request, quote(id, safe=""))
        if "ETag" in answer.headers:
            result["version"] = answer.headers["ETag"]
        if answer.status >= 400:
            self._failed.add(operation.position)
            result["response"] = answer.body
        self._results[operation.position] = result


def _goes_together(step: Step) -> bool:
    """Whether others may run at the same time: it is a POST, and small enough to look into."""
    operation = step.operation
    return operation.method == "POST" and not step.completes and operation.size <= LIGHT


def _check(operation: BulkOperation) -> None:
    """Raises MethodNotAllowed for a path that does not take the method, InvalidSyntax where the
    operation lacks its bulkId or data."""
    is_resource = operation.id is not None or operation.id_reference is not None
    if is_resource == (operation.method == "POST"):
        known = "PUT, PATCH and DELETE" if is_resource else "POST"
        raise MethodNotAllowed(
            f"In a bulk request, `{operation.path[:100]}` knows {known}, not {operation.method}."
        )
    if operation.method == "POST" and operation.bulk_id is None:
        raise InvalidSyntax(
            "A POST in a bulk request needs a `bulkId`, a text that no other POST in it has."
        )
    if operation.method != "DELETE" and operation.data is None:
        raise InvalidSyntax(
            f"The operation has no `data`; it is the body that a single {operation.method} would "
            "have."
        )

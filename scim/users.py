"""/Users: the use cases (RFC 7644 sections 3.3 to 3.6)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from directory.completeness import missing
from directory.condition import Condition, OneOf
from directory.documents import group_id, new_resource_id
from directory.lanes import apart
from directory.nesting import groups_above, users_below
from directory.reading import TooManyFound, read_all, readable
from directory.reasons import REQUIRED
from directory.resources import StoredGroup, StoredResource
from directory.store import Operation
from scim.exchange import Answer, Request
from scim.membership import FILTERED_LIMIT, SHOWN_LIMIT, too_many_filtered, too_many_shown
from scim.protocol import entra, patch
from scim.protocol.binding import Related, related, resolve
from scim.protocol.errors import InvalidValue
from scim.protocol.validation import (
    Changed,
    defaulted,
    differences,
    normalise,
    replacement,
)
from scim.resources import Content, Edit, LookedUp, Resources
from scim.selection import Selection


class Users(Resources):
    """What a client can do with users."""

    scope_of_delete = "user"
    looked_up = "groups"

    async def create(self, request: Request, content: Content | None = None) -> Answer:
        """Create a user (RFC 7644 section 3.3)."""
        request.require_provisioning()
        projection = self.projection(request)
        normal, _ = content or await self.content(request)
        self.refuse_ignored(request, normal.ignored)
        self._require_complete(request, normal.resource)
        resource_id = new_resource_id()
        resource = {**defaulted(self.type, normal.resource), "id": resource_id}
        event = self.event(
            request,
            "create",
            resource_id,
            scope="user",
            attributes=differences(self.type, {}, normal.resource),
            ignored=normal.ignored,
        )
        stored = await self.retrying(lambda: self.insert(self.base(request), resource, event))
        return await self.answer_written(request, 201, stored, projection)

    async def replace(self, request: Request, resource_id: str) -> Answer:
        """Replace a user (RFC 7644 section 3.5.1): attributes that the body leaves out are
        cleared."""
        request.require_provisioning()
        normal, _ = await self.content(request)
        return await self._change(
            request,
            resource_id,
            "replace",
            lambda resource, _: replacement(self.type, resource, normal),
        )

    async def patch(self, request: Request, resource_id: str) -> Answer:
        """Change a user (RFC 7644 section 3.5.2), all operations or none; answers the resource."""
        request.require_provisioning()
        operations = await apart(
            request.tenant.tenant_id, request.size, lambda: entra.operations(request.body)
        )
        return await self._change(
            request,
            resource_id,
            "patch",
            lambda resource, work: patch.apply(self.type, resource, operations, work),
        )

    def meant(self, body: object) -> Content:
        """See Resources."""
        return Content(normalise(self.type, entra.resource(self.type, body)))

    def check_owner(self, request: Request, stored: StoredResource) -> None:
        """Users have no owner: every connection of the tenant may provision them."""

    async def removed_with(
        self, _request: Request, _stored: StoredResource, /
    ) -> Sequence[Operation]:
        """No further operations."""
        return ()

    async def _change(
        self, request: Request, resource_id: str, operation: Literal["replace", "patch"], edit: Edit
    ) -> Answer:
        projection = self.projection(request)

        async def write(stored: StoredResource, changed: Changed) -> StoredResource:
            return await self._write(request, operation, stored, changed)

        stored = await self.change(request, resource_id, edit, write)
        return await self.answer_written(request, 200, stored, projection)

    async def _write(
        self,
        request: Request,
        operation: Literal["replace", "patch"],
        stored: StoredResource,
        changed: Changed,
    ) -> StoredResource:
        """Commit a changed user; where nothing changed, only the event, which is the log entry."""
        self.refuse_ignored(request, changed.ignored)
        event = self.event(
            request,
            operation,
            stored.id,
            scope="user" if changed.changed else "none",
            attributes=changed.changed,
            ignored=changed.ignored,
        )
        if not event.attributes:
            await self.commit([], event)
            return stored
        base = stored.document
        if stored.manual and "externalId" in changed.resource:
            base = {**base, "source": "scim", "connectionId": event.actor.id}  # adopted
        return await self.update(stored, base, changed.resource, event)

    async def look_up(
        self, request: Request, items: Sequence[StoredResource]
    ) -> Sequence[LookedUp]:
        """The groups that the users are in; a user's version does not cover them."""
        ids = [stored.id for stored in items]
        groups = await self._groups_of(request, ids)
        return [LookedUp(groups[id], lambda shown: shown) for id in ids]

    async def _groups_of(
        self, request: Request, user_ids: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]:
        """User id → the groups that the user is in, directly or through other groups, in the form
        of RFC 7643 section 4.1.2."""
        store, tenant_id = self.service.store, request.tenant.tenant_id
        try:
            above = await groups_above(store, tenant_id, user_ids, SHOWN_LIMIT)
        except TooManyFound:
            raise too_many_shown("groups") from None
        reached = {user: _reached(user, above) for user in user_ids}
        if sum(map(len, reached.values())) > SHOWN_LIMIT:
            raise too_many_shown("groups")
        ids = list(dict.fromkeys(group for groups in above.values() for group in groups))
        found = readable(await read_all(store, tenant_id, [group_id(group) for group in ids]))
        names = {
            group: StoredGroup.of(found[group_id(group)]).display_name
            for group in ids
            if group_id(group) in found
        }
        return {
            user: [
                {
                    "value": group,
                    "$ref": f"{request.base_url}/Groups/{group}",
                    "display": names[group],
                    "type": "direct" if group in above[user] else "indirect",
                }
                for group in reached[user]
                if group in names
            ]
            for user in user_ids
        }

    async def related(self, tenant_id: str, selection: Selection) -> Condition:
        """Conditions on `groups` become conditions on the ids of users with such a membership."""
        answers: dict[Related, Condition] = {}
        questions = related(selection.filter)
        for question in questions:
            most = FILTERED_LIMIT // len(questions)
            try:
                users = await users_below(self.service.store, tenant_id, question.condition, most)
            except TooManyFound:
                raise too_many_filtered(FILTERED_LIMIT) from None
            answers[question] = OneOf(("id",), tuple(self.document_id(u) for u in sorted(users)))
        return resolve(selection.filter, answers)

    def _require_complete(self, request: Request, resource: dict[str, Any]) -> None:
        """Raises InvalidValue for a new user without the required attributes, unless the tenant
        accepts incomplete users."""
        lacking = missing(resource)
        if lacking and not request.tenant.policy.accept_incomplete_users:
            raise InvalidValue(
                "The user was not created, because required attributes are missing: "
                + "; ".join(
                    f"{REQUIRED[reason].shown} (fill in {REQUIRED[reason].advice} in Entra ID)"
                    for reason in lacking
                )
                + ". Entra ID tries again in its next cycle. If the value is there, check the "
                "attribute mapping of the Enterprise Application."
            )


def _reached(user: str, above: Mapping[str, Sequence[str]]) -> list[str]:
    """Every group above a user, the direct ones first; a loop is walked once."""
    reached = dict.fromkeys(above[user])
    waiting = list(reached)
    for group in waiting:
        new = [parent for parent in above.get(group, ()) if parent not in reached]
        reached |= dict.fromkeys(new)
        waiting.extend(new)
    return waiting

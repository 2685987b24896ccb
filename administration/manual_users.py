"""Users made by hand: externals, and people who were there before Entra ID.

They are validated, stored and reserved as provisioned users are. Entra ID adopts one when it
finds the user by work e-mail (or by userName) and writes `externalId`; from then on the user is
Entra ID's to change, and access follows its groups (product, section 5).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from administration.errors import AdministrationError
from administration.events import Administration
from administration.reading.naming import person_name
from administration.reading.users import find_user
from directory.completeness import missing, work_email
from directory.condition import All, AnyElement, Compare, OneOf
from directory.documents import Key, key_id, new_resource_id, user_id
from directory.reasons import REQUIRED
from directory.resources import StoredUser
from directory.store import Document, NotFound, Query
from scim.protocol import patch
from scim.protocol.entra import Operation
from scim.protocol.errors import ScimError, Uniqueness
from scim.protocol.scalars import folds
from scim.protocol.schema import ResourceType
from scim.protocol.validation import differences, schemas_of
from scim.reservations import unique_values
from scim.writing import Writing


class ManualUsers(Administration):
    """The users of one tenant that are made by hand. Attributes are given as SCIM paths with their
    values, such as `userName`, `name.givenName`, `emails[type eq "work"].value`; an empty value
    clears the attribute. Every method raises AdministrationError."""

    async def create(self, attributes: Mapping[str, Any]) -> str:
        """A new user; returns the SCIM id."""
        id = new_resource_id()
        empty = {"schemas": schemas_of(self._type, {}), "id": id, "active": True}
        with _explained():
            resource = self._changed(empty, attributes)
            event = self.event("create", "User", id, differences(self._type, {}, resource), "user")
            base: Document = {"tenantId": self.tenant_id, "source": "manual"}
            await self._refuse_duplicates(resource)
            try:
                writing = self._writing
                await writing.retrying(lambda: writing.insert(base, resource, event))
            except Uniqueness as error:
                raise await self._taken(resource, error) from None
        return id

    async def edit(self, who: str, attributes: Mapping[str, Any]) -> bool:
        """Change a user; returns whether anything changed. Refused for a user whom Entra ID
        manages."""

        async def attempt() -> bool:
            stored = await self._by_hand(who, "change")
            before = stored.resource
            resource = self._changed(before, attributes)
            changed = differences(self._type, before, resource)
            if not changed:
                return False
            event = self.event("patch", "User", resource["id"], changed, "user")
            if "emails" in changed:
                await self._refuse_duplicates(resource)
            try:
                await self._writing.update(stored, stored.document, resource, event)
            except Uniqueness as error:
                raise await self._taken(resource, error) from None
            return True

        with _explained():
            return await self._writing.retrying(attempt)

    async def delete(self, who: str) -> str:
        """Remove a user, with everything given by hand; returns the SCIM id. Refused for one whom
        Entra ID manages."""

        async def attempt() -> str:
            stored = await self._by_hand(who, "delete")
            event = self.event("delete", "User", stored.id, (), "user")
            await self._writing.remove(stored, event)
            return stored.id

        with _explained():
            return await self._writing.retrying(attempt)

    @property
    def _type(self) -> ResourceType:
        return self.service.resource_types["User"]

    @property
    def _writing(self) -> Writing:
        return Writing(self.service, self._type)

    async def _by_hand(self, who: str, verb: str) -> StoredUser:
        stored = await find_user(self.service.store, self.tenant_id, who)
        if not stored.manual:
            raise AdministrationError(
                f"{_described(stored)} is managed by Entra ID, which would undo it: "
                f"{verb} the user there."
            )
        return stored

    def _changed(self, resource: dict[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
        """The resource with these attributes. Raises AdministrationError for values that a user
        made by hand cannot have."""
        operations = [_Edit("replace", path, value) for path, value in attributes.items()]
        changed = patch.apply(self._type, resource, operations)
        if changed.ignored:
            raise AdministrationError(
                f"Muster does not know: {', '.join(changed.ignored[:10])}. The schema of users "
                "(/scim/Schemas) names the attributes."
            )
        after = changed.resource
        if "externalId" in after:
            raise AdministrationError(
                "externalId is what Entra ID writes when it adopts a user; nobody else sets it."
            )
        if after.get("active") is not True:
            raise AdministrationError(
                "A user made by hand is always active, since Entra ID's rules do not apply. "
                "Withdraw the grants, or delete the user."
            )
        if lacking := [REQUIRED[reason].shown for reason in missing(after)]:
            raise AdministrationError(
                f"A user needs {', '.join(lacking)}: Entra ID finds people by their work e-mail "
                "when it adopts them."
            )
        return after

    async def _refuse_duplicates(self, resource: dict[str, Any]) -> None:
        """Raises AdministrationError where another user has the work e-mail: Entra ID could not
        tell which of the two to adopt."""
        email = work_email(resource) or ""
        is_work = All((Compare(("type",), "eq", "work"), OneOf(("value",), folds(email))))
        query = Query("User", AnyElement(("search", "emails"), is_work), limit=2)
        for found in (await self.service.store.query(self.tenant_id, query)).items:
            if (owner := StoredUser.of(found)).id != resource["id"]:
                raise _already("The work e-mail", email, owner)

    async def _taken(self, resource: dict[str, Any], error: Uniqueness) -> AdministrationError:
        """The error of a value that is taken, naming the user who has it."""
        store = self.service.store
        for unique, given in unique_values(self._type, resource).items():
            try:
                found = await store.read(self.tenant_id, key_id("User", *unique))
                reserved = Key.from_document(found.document)
                owner = await store.read(self.tenant_id, user_id(reserved.resource_id))
            except NotFound:
                continue
            if reserved.resource_id != resource["id"]:
                return _already(unique.attribute, str(given), StoredUser.of(owner))
        return AdministrationError(error.detail)


class _Edit(Operation):
    """An administrator's change; its errors need not name an operation of a request."""

    def blamed(self, error: ScimError) -> ScimError:
        detail = error.detail
        return type(error)(detail if self.path in detail else f"{self.path}: {detail}")


@contextmanager
def _explained() -> Iterator[None]:
    """Turns a refusal of SCIM into an error for administrators."""
    try:
        yield
    except ScimError as error:
        raise AdministrationError(error.detail) from None


def _already(what: str, value: str, owner: StoredUser) -> AdministrationError:
    return AdministrationError(f"{what} {value} is already used by {_described(owner)}.")


def _described(user: StoredUser) -> str:
    """How a user is named to administrators of the same tenant."""
    origin = "made by hand" if user.manual else "from Entra ID"
    return f"{person_name(user)} ({origin}, id {user.id})"

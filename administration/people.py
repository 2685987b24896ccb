"""Users as an administrator sees them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from administration.tenants import AdministrationError, read_tenant
from directory.access import Access, access_id
from directory.completeness import work_email
from directory.condition import All, Compare, Condition, Either
from directory.documents import Key, Model, Reason, is_resource_id, user_id
from directory.reading import read_all
from directory.store import Document, Query, Store, Stored
from reconciler.access import current_access

PAGE = 50
MOST_PER_PAGE = 200

type Source = Literal["scim", "manual"]


class Person(Model):
    """One user, as an administrator sees them in a list."""

    user_id: str
    user_name: str | None = None
    display_name: str | None = None
    work_email: str | None = None
    external_id: str | None = None
    source: Source
    """`manual`: made by hand, and not adopted by Entra ID so far."""
    enabled: bool
    reasons: tuple[Reason, ...] = ()


class PersonPage(Model):
    """Users in the order of their creation; `continuation` leads to the next page."""

    users: tuple[Person, ...]
    continuation: str | None = None


async def list_people(
    store: Store,
    tenant_id: str,
    *,
    named: str = "",
    source: Source | None = None,
    limit: int = PAGE,
    continuation: str | None = None,
) -> PersonPage:
    """A page of a tenant's users: those whose userName or display name begins with `named`, of
    this source. Raises AdministrationError for a continuation that is none."""
    conditions: list[Condition] = []
    if named:
        names = [("search", "userName"), ("search", "displayName")]
        conditions.append(Either(tuple(Compare(name, "sw", named.casefold()) for name in names)))
    if source:
        conditions.append(Compare(("source",), "eq", source))
    query = Query(
        "User",
        All(tuple(conditions)),
        limit=min(limit, MOST_PER_PAGE),
        continuation=continuation,
    )
    try:
        page = await store.query(tenant_id, query)
    except ValueError as error:
        raise AdministrationError(str(error)) from None
    people = await _people(store, tenant_id, [item.document for item in page.items])
    return PersonPage(users=people, continuation=page.continuation)


async def find_user(store: Store, tenant_id: str, who: str) -> Stored:
    """A stored user by SCIM id, userName or externalId, looked for in this order. Raises
    AdministrationError where there is none."""
    names = {"userName": who.casefold(), "externalId": who}
    keys = [
        Key.reserve(tenant_id, "User", attribute, value, "").document_id
        for attribute, value in names.items()
    ]
    reserved = await store.read_many(tenant_id, keys)
    owners = [Key.from_document(reserved[key].document) for key in keys if key in reserved]
    ids = [user_id(owner.resource_id) for owner in owners]
    if is_resource_id(who):
        ids.insert(0, user_id(who))
    found = await store.read_many(tenant_id, ids) if ids else {}
    for id in ids:
        if id in found:
            return found[id]
    raise AdministrationError(
        f"{tenant_id} has no user {who[:200]!r}. A user is named by id, userName or externalId."
    )


async def read_person(store: Store, tenant_id: str, who: str) -> Person:
    """One user as `find_user` finds it. Raises AdministrationError where there is none."""
    (person,) = await _people(store, tenant_id, [(await find_user(store, tenant_id, who)).document])
    return person


async def _people(store: Store, tenant_id: str, users: Sequence[Document]) -> tuple[Person, ...]:
    if not users:
        return ()
    policy = (await read_tenant(store, tenant_id)).policy
    ids = [user["resource"]["id"] for user in users]
    found = await read_all(store, tenant_id, [access_id(id) for id in ids])
    people = []
    for user, id in zip(users, ids, strict=True):
        record = found.get(access_id(id))
        access = Access.from_document(record.document) if record else None
        now = current_access(access, user, policy)
        resource = user["resource"]
        people.append(
            Person(
                user_id=id,
                user_name=resource.get("userName"),
                display_name=name_of(resource),
                work_email=work_email(resource),
                external_id=resource.get("externalId"),
                source=user["source"],
                enabled=now is not None and now.enabled,
                reasons=now.reasons if now else (),
            )
        )
    return tuple(people)


def name_of(resource: Mapping[str, Any]) -> str | None:
    """What a canonical SCIM user is called."""
    name = resource.get("name") or {}
    whole = " ".join(name[part] for part in ("givenName", "familyName") if part in name)
    return resource.get("displayName") or name.get("formatted") or whole or resource.get("userName")

"""Reservations, which make a value unique in a tenant, such as a userName or an externalId.

A reservation is a document whose id is derived from the value, written in the same batch as the
resource: the second writer of a value conflicts, and the owner is found with one read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from directory.documents import Key
from directory.store import Create, Delete, NotFound, Operation, Store
from scim.protocol.comparison import comparable
from scim.protocol.errors import InvalidValue, Uniqueness
from scim.protocol.scalars import Scalar
from scim.protocol.schema import Attribute, ResourceType, attribute_path

MOST_UNIQUE_VALUES = 40
"""Unique values of one resource: even if all of them change at once, the old and the new
reservations fit one batch (100 operations) with the resource and the event."""


class UniqueValue(NamedTuple):
    """A value that only one resource in the tenant may have; equal if the reservation is the
    same."""

    attribute: str
    """As clients write it: `userName`, `urn:…:User:badge`, `emails.value`."""
    value: str
    """In its comparable form."""


def unique_values(
    resource_type: ResourceType, resource: Mapping[str, Any]
) -> dict[UniqueValue, Scalar]:
    """The values that must be unique → each value as it was sent.

    These are all values of the attributes that are unique on the server by their schema, including
    `externalId`. A group without an externalId can only be matched by its displayName, which is
    therefore unique among such groups; groups with an externalId may share a name.
    """
    return {
        UniqueValue(name, str(comparable(attribute, value))): value
        for name, keys, attribute in _places(resource_type, resource)
        for value in _values(resource, keys)
    }


def reserved_values(
    resource_type: ResourceType, document: Mapping[str, Any]
) -> dict[UniqueValue, None]:
    """The reserved values of a stored user or group: its unique values in its `search`, in the
    version of the comparable form that it was written in. Empty for `{}`."""
    if not document:
        return {}
    return {
        UniqueValue(name, str(value)): None
        for name, keys, _ in _places(resource_type, document["resource"])
        for value in _values(document["search"], keys)
    }


def unchanged_unique(
    resource_type: ResourceType, old: Mapping[str, Any], resource: Mapping[str, Any]
) -> dict[str, Any]:
    """The top-level members of the `search` of the document `old` that hold unique values and do
    not change in `resource`."""
    heads = {keys[0] for _, keys, _ in _places(resource_type, old["resource"])}
    return {
        head: old["search"][head]
        for head in heads
        if head in resource and old["resource"].get(head) == resource[head]
    }


class _Place(NamedTuple):
    name: str
    keys: tuple[str, ...]
    attribute: Attribute


def _places(resource_type: ResourceType, resource: Mapping[str, Any]) -> tuple[_Place, ...]:
    places = _unique(resource_type)
    if resource_type.name == "Group" and "externalId" not in resource:
        name = resource_type.attributes["displayname"]
        places = (*places, _Place(name.name, (name.name,), name))
    return places


@cache
def _unique(resource_type: ResourceType) -> tuple[_Place, ...]:
    """The attributes that clients can write and that are unique by their schema."""

    def below(attributes: Mapping[str, Attribute], keys: tuple[str, ...]) -> Iterator[_Place]:
        for attribute in attributes.values():
            here = (*keys, attribute.name)
            written = attribute.mutability in ("readWrite", "immutable")
            if written and attribute.type == "complex":
                yield from below(attribute.sub_attributes, here)
            elif written and attribute.uniqueness != "none":
                yield _Place(attribute_path(here), here, attribute)

    return tuple(below(resource_type.attributes, ()))


def _values(resource: Mapping[str, Any], keys: Sequence[str]) -> list[Scalar]:
    found: list[Any] = [resource]
    for key in keys:
        inner = [each[key] for each in found if key in each]
        found = [one for each in inner for one in (each if isinstance(each, list) else [each])]
    return found


def reservations(resource_type: ResourceType, document: Mapping[str, Any]) -> list[Key]:
    """The reservations that a stored user or group has."""
    return _keys(resource_type, document, reserved_values(resource_type, document))


def _keys(
    resource_type: ResourceType, document: Mapping[str, Any], values: Iterable[UniqueValue]
) -> list[Key]:
    return [
        Key.reserve(document["tenantId"], resource_type.name, *unique, document["resource"]["id"])
        for unique in values
    ]


async def reserve(
    store: Store,
    resource_type: ResourceType,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
) -> list[Operation]:
    """The operations after which exactly the unique values of the document `new` are reserved, when
    those of the document `old` were (`{}`: none). Raises InvalidValue where a value is added beyond
    MOST_UNIQUE_VALUES."""
    before, after = reserved_values(resource_type, old), reserved_values(resource_type, new)
    given_up = [unique for unique in before if unique not in after]
    added = [unique for unique in after if unique not in before]
    if added and len(after) > MOST_UNIQUE_VALUES:
        raise InvalidValue(
            f"The {resource_type.name.lower()} would have {len(after)} values that must be unique "
            f"in the organisation; at most {MOST_UNIQUE_VALUES} can be kept so."
        )
    released = await _held(store, _keys(resource_type, old, given_up))
    return [
        *(Delete(key.document_id) for key in released),
        *(Create(key.to_document()) for key in _keys(resource_type, new, added)),
    ]


async def _held(store: Store, keys: Sequence[Key]) -> list[Key]:
    """Those of a resource's reservations that exist. Values in an extension may be older than the
    rule that they are unique: then they are not reserved, or reserved for another resource."""
    doubtful = [key.document_id for key in keys if ":" in key.attribute]
    if not doubtful:
        return list(keys)
    found = await store.read_many(keys[0].tenant_id, doubtful)
    owners = {id: Key.from_document(stored.document).resource_id for id, stored in found.items()}
    return [
        key
        for key in keys
        if ":" not in key.attribute or owners.get(key.document_id) == key.resource_id
    ]


async def taken(store: Store, tenant_id: str, document_id: str) -> Uniqueness | None:
    """The error for a conflict with this reservation; None where it is gone by now."""
    try:
        key = Key.from_document((await store.read(tenant_id, document_id)).document)
    except NotFound:
        return None
    return Uniqueness(
        f"{key.attribute} is already used by the {key.resource_type.lower()} with id "
        f"{key.resource_id}. {key.attribute} must be unique in the organisation: update that "
        f"{key.resource_type.lower()} instead of creating another one, or change the value in "
        "Entra ID."
    )

"""Reservations: what makes a userName or an externalId unique in a tenant.

A reservation is a document whose id is derived from the value, written in the same batch as the
resource: the second writer of a value conflicts, and the owner is found with one read.
"""

from collections.abc import Mapping
from typing import Any

from directory.documents import Key
from directory.store import Create, Delete, NotFound, Operation, Store
from scim.protocol.errors import Uniqueness
from scim.protocol.representation import comparable
from scim.protocol.schema import ResourceType


def unique_values(resource_type: ResourceType, resource: Mapping[str, Any]) -> dict[str, str]:
    """Attribute name → value in its comparable form, of everything that must be unique.

    These are the attributes that the schema says are unique on the server, and `externalId`. A
    group without an externalId can only be matched by its displayName, which is unique among
    such groups; with an externalId, two groups of one name are fine.
    """
    names = [
        attribute.name
        for attribute in resource_type.schema.attributes.values()
        if attribute.uniqueness != "none" and attribute.name != "id"
    ]
    names.append("externalId")
    if resource_type.name == "Group" and "externalId" not in resource:
        names.append("displayName")
    values = {}
    for name in names:
        attribute = resource_type.attributes.get(name.lower())
        if attribute and name in resource:
            values[name] = str(comparable(attribute, resource[name]))
    return values


def reserved_values(resource_type: ResourceType, document: Mapping[str, Any]) -> dict[str, str]:
    """What of a stored user or group is reserved: its unique values as they stand in its `search`,
    in whichever version of the comparable form that was written. `{}`: nothing."""
    names = unique_values(resource_type, document["resource"]) if document else {}
    return {name: document["search"][name] for name in names}


def reserve(
    resource_type: ResourceType, old: Mapping[str, Any], new: Mapping[str, Any]
) -> list[Operation]:
    """What to write so that exactly the unique values of the document `new` are reserved, when
    those of the document `old` were (`{}`: none)."""
    before, after = reserved_values(resource_type, old), reserved_values(resource_type, new)

    def key(attribute: str, value: str) -> Key:
        document = new or old
        return Key.reserve(
            document["tenantId"], resource_type.name, attribute, value, document["resource"]["id"]
        )

    released: list[Operation] = [
        Delete(key(attribute, value).document_id)
        for attribute, value in before.items()
        if after.get(attribute) != value
    ]
    reserved: list[Operation] = [
        Create(key(attribute, value).to_document())
        for attribute, value in after.items()
        if before.get(attribute) != value
    ]
    return released + reserved


async def taken(store: Store, tenant_id: str, document_id: str) -> Uniqueness | None:
    """The error for a reservation that stood in the way; None where it is gone by now."""
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

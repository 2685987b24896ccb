"""SCIM schemas: what a resource may hold, read from SCIM Schema resources in JSON.

Mutability, returned, uniqueness, required, canonicalValues and caseExact are enforced from what
stands there, never by hand per attribute (RFC 7643 sections 2 and 7).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

type AttributeType = Literal[
    "string", "boolean", "decimal", "integer", "dateTime", "reference", "binary", "complex"
]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute definition (RFC 7643 section 7)."""

    name: str
    type: AttributeType = "string"
    multi_valued: bool = False
    description: str = ""
    required: bool = False
    canonical_values: tuple[str, ...] = ()
    case_exact: bool = False
    mutability: Literal["readOnly", "readWrite", "immutable", "writeOnly"] = "readWrite"
    returned: Literal["always", "never", "default", "request"] = "default"
    uniqueness: Literal["none", "server", "global"] = "none"
    reference_types: tuple[str, ...] = ()
    sub_attributes: Mapping[str, "Attribute"] = field(default_factory=dict)
    """By lower-case name; empty unless `type` is complex."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A SCIM Schema resource; `attributes` by lower-case name."""

    id: str
    name: str
    description: str
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class Location:
    """Where a path leads in the canonical resource.

    `keys` are canonical names from the resource's root: `("userName",)`, `("name", "givenName")`,
    `("emails", "value")`, `("urn:…:enterprise:2.0:User", "manager", "value")`. `attribute` is the
    definition of the last one; `parent` that of the complex attribute it belongs to, if any.
    """

    keys: tuple[str, ...]
    attribute: Attribute
    parent: Attribute | None = None


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A resource type with its core schema and its extensions (RFC 7643 section 6).

    `common` holds `schemas`, `id`, `externalId` and `meta` (RFC 7643 section 3.1), by lower-case
    name. `extensions` by lower-case URN.
    """

    name: str
    endpoint: str
    description: str
    schema: Schema
    common: Mapping[str, Attribute]
    extensions: Mapping[str, Schema] = field(default_factory=dict)

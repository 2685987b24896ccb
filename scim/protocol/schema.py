"""SCIM schemas: the attributes of resources, read from SCIM Schema resources in JSON.

Mutability, returned, uniqueness, required, canonicalValues and caseExact are enforced as the
schemas define them, with no code for single attributes (RFC 7643 sections 2 and 7).
`schemas/*.json` are those of RFC 7643 section 8.7.1 with additions from its normative text and
errata: a group's `displayName` is required (section 4.2), `members` have `display`, `addresses`
have `primary` (section 2.4), and ids are case exact (`manager.value`, `members.value`,
`groups.value`). `derived` is Muster's addition: see `Attribute`.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

CACHED_CHARACTERS = 200
"""The meaning of a longer path, or of a longer list of names, is not cached: they are rare, and
would take much memory."""

type AttributeType = Literal[
    "string", "boolean", "decimal", "integer", "dateTime", "reference", "binary", "complex"
]
type Mutability = Literal["readOnly", "readWrite", "immutable", "writeOnly"]
type Returned = Literal["always", "never", "default", "request"]
type Uniqueness = Literal["none", "server", "global"]


class SchemaError(ValueError):
    """A file is no usable SCIM Schema resource; the message names the file and the wrong part."""


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """One attribute definition (RFC 7643 section 7); compared by identity."""

    name: str
    type: AttributeType = "string"
    multi_valued: bool = False
    description: str = ""
    required: bool = False
    canonical_values: tuple[str, ...] = ()
    case_exact: bool = False
    mutability: Mutability = "readWrite"
    returned: Returned = "default"
    uniqueness: Uniqueness = "none"
    reference_types: tuple[str, ...] = ()
    sub_attributes: Mapping[str, "Attribute"] = field(default_factory=dict)
    """By lower-case name; empty unless `type` is complex."""
    derived: bool = field(default=False, repr=False)
    """Computed for each answer and not stored: it is shown, but cannot be filtered or sorted by.
    `/Schemas` does not show this property."""


@dataclass(frozen=True, slots=True, eq=False)
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
    definition of the last key; `parent` that of its complex attribute, if it has one.
    """

    keys: tuple[str, ...]
    attribute: Attribute
    parent: Attribute | None = None


@dataclass(frozen=True, slots=True, eq=False)
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
    defaults: Mapping[str, bool] = field(default_factory=dict)
    """Top-level Booleans that always have a value → the value where a client creates a resource
    without one."""
    attributes: Mapping[str, Attribute] = field(init=False, repr=False)
    """Top-level attributes by lower-case name: common and core attributes, and each extension as a
    complex attribute named by its URN."""
    _located: Mapping[str, "Location | Schema"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        containers = {
            urn: Attribute(
                schema.id,
                type="complex",
                description=schema.description,
                sub_attributes=schema.attributes,
            )
            for urn, schema in self.extensions.items()
        }
        core = {**self.common, **self.schema.attributes}
        object.__setattr__(self, "attributes", {**core, **containers})
        object.__setattr__(self, "_located", self._index(core))

    def _index(self, core: Mapping[str, Attribute]) -> dict[str, "Location | Schema"]:
        """Every path that clients may write, in lower case. Where two attributes have the same
        path, the form that RFC 7644 section 3.10 defines wins."""
        found: dict[str, Location | Schema] = {schema.id.lower(): schema for schema in self.schemas}
        locations = {self.schema.id: _locations((), core)}
        for schema in self.extensions.values():
            locations[schema.id] = _locations((schema.id,), schema.attributes)
        found |= locations[self.schema.id]
        for separator in ":.":
            for urn, below in locations.items():
                for path, location in below.items():
                    found.setdefault(f"{urn.lower()}{separator}{path}", location)
        short = Counter(path for urn in self.extensions.values() for path in locations[urn.id])
        for schema in self.extensions.values():
            for path, location in locations[schema.id].items():
                if short[path] == 1:
                    found.setdefault(path, location)
        return found

    @property
    def schemas(self) -> tuple[Schema, ...]:
        """The core schema, then the extensions."""
        return (self.schema, *self.extensions.values())

    def locate(self, path: str) -> "Location | Schema | None":
        """Where a client's path leads, in any case: `userName`, `name.givenName`,
        `urn:…:User:manager.value`. A schema for the URN of a schema alone; None for an unknown
        name.

        A dot after a URN means the same as the colon (`urn:…:User.manager`). A name without URN
        that the core schema lacks belongs to an extension if only one has it (`manager`).
        Microsoft's own requests contain both.
        """
        return self._located.get(path.lower())


def _locations(prefix: tuple[str, ...], attributes: Mapping[str, Attribute]) -> dict[str, Location]:
    """Attributes and their sub-attributes, by lower-case path without URN."""
    locations: dict[str, Location] = {}
    for name, attribute in attributes.items():
        keys = (*prefix, attribute.name)
        locations[name] = Location(keys, attribute)
        for sub_name, sub in attribute.sub_attributes.items():
            locations[f"{name}.{sub_name}"] = Location((*keys, sub.name), sub, attribute)
    return locations


def attribute_path(keys: Sequence[str]) -> str:
    """A `Location.keys` as clients write it: `name.givenName`, `urn:…:User:manager.value`."""
    if ":" in keys[0]:
        return ":".join((keys[0], ".".join(keys[1:]))).rstrip(":")
    return ".".join(keys)


def _common(*attributes: Attribute) -> dict[str, Attribute]:
    return {attribute.name.lower(): attribute for attribute in attributes}


COMMON = _common(
    Attribute(
        "schemas",
        multi_valued=True,
        required=True,
        case_exact=True,
        mutability="readOnly",
        returned="always",
        description="The URNs of the schemas that the resource has values of.",
    ),
    Attribute(
        "id",
        required=True,
        case_exact=True,
        mutability="readOnly",
        returned="always",
        uniqueness="server",
        description="The identifier chosen by the service provider.",
    ),
    Attribute(
        "externalId",
        case_exact=True,
        uniqueness="server",
        description="The identifier of the resource in the provisioning client's directory.",
    ),
    Attribute(
        "meta",
        type="complex",
        mutability="readOnly",
        description="Type, version, place and times of the resource.",
        sub_attributes=_common(
            Attribute("resourceType", case_exact=True, mutability="readOnly"),
            Attribute("created", type="dateTime", mutability="readOnly"),
            Attribute("lastModified", type="dateTime", mutability="readOnly"),
            Attribute(
                "location",
                type="reference",
                case_exact=True,
                mutability="readOnly",
                derived=True,
            ),
            Attribute("version", case_exact=True, mutability="readOnly", derived=True),
        ),
    ),
)
"""The attributes of every resource (RFC 7643 section 3.1). Muster keeps externalId unique."""


class _Definition(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, strict=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^(\$ref|[A-Za-z][A-Za-z0-9_-]*)$")]
    type: AttributeType = "string"
    multi_valued: bool = False
    description: str = ""
    required: bool = False
    canonical_values: list[str] = []
    case_exact: bool | None = None
    mutability: Mutability = "readWrite"
    returned: Returned = "default"
    uniqueness: Uniqueness = "none"
    reference_types: list[str] = []
    sub_attributes: "list[_Definition]" = []
    derived: bool = False


class _Document(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, strict=True, extra="forbid")

    schemas: list[str] = []
    meta: dict[str, Any] = {}
    id: Annotated[str, Field(pattern=r"^[Uu][Rr][Nn]:[A-Za-z0-9][A-Za-z0-9:._-]*$")]
    name: str = ""
    description: str = ""
    attributes: Annotated[list[_Definition], Field(min_length=1)]
    resource_type: str = "User"


def load_schema(document: object, source: str) -> Schema:
    """The schema in a SCIM Schema resource (RFC 7643 section 7).

    `source` names it in errors, e.g. a file name. Raises SchemaError.
    """
    return _schema(_parse(document, source), source)


def _parse(document: object, source: str) -> _Document:
    try:
        return _Document.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SchemaError(f"{source}: {_place(first['loc'])}: {first['msg']}") from None


def _place(location: Iterable[int | str]) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return steps.lstrip(".") or "the document"


def _schema(document: _Document, source: str) -> Schema:
    attributes = _attributes(document.attributes, source, "attributes", nested=False)
    return Schema(document.id, document.name or document.id, document.description, attributes)


def _attributes(
    definitions: list[_Definition], source: str, place: str, *, nested: bool
) -> dict[str, Attribute]:
    attributes: dict[str, Attribute] = {}
    for index, definition in enumerate(definitions):
        here = f"{source}: {place}[{index}] ('{definition.name}')"
        key = definition.name.lower()
        if key in attributes:
            raise SchemaError(f"{here}: there is an attribute of this name already")
        if nested and definition.type == "complex":
            raise SchemaError(f"{here}: a sub-attribute cannot be complex (RFC 7643 2.3.8)")
        if (definition.type == "complex") != bool(definition.sub_attributes):
            raise SchemaError(f"{here}: complex attributes, and only they, have subAttributes")
        attributes[key] = _attribute(definition, source, f"{place}[{index}].subAttributes")
    return attributes


def _attribute(definition: _Definition, source: str, place: str) -> Attribute:
    exact = definition.case_exact
    if exact is None:  # RFC 7643 sections 2.2, 2.3.6 and 2.3.7
        exact = definition.type in ("binary", "reference")
    return Attribute(
        name=definition.name,
        type=definition.type,
        multi_valued=definition.multi_valued,
        description=definition.description,
        required=definition.required,
        canonical_values=tuple(definition.canonical_values),
        case_exact=exact,
        mutability=definition.mutability,
        returned=definition.returned,
        uniqueness=definition.uniqueness,
        reference_types=tuple(definition.reference_types),
        sub_attributes=_attributes(definition.sub_attributes, source, place, nested=True),
        derived=definition.derived,
    )


_SHIPPED = Path(__file__).parent / "schemas"
_ENDPOINTS = {
    "User": ("/Users", "User Account", "user.json", ("enterprise_user.json",)),
    "Group": ("/Groups", "Group", "group.json", ()),
}
_DEFAULTS: Mapping[str, Mapping[str, bool]] = {"User": {"active": True}}
"""Microsoft's library reads a user without `active` as disabled."""


def load_resource_types(extension_files: Sequence[Path] = ()) -> Mapping[str, ResourceType]:
    """The resource types `User` and `Group` by name, with the extensions in these files.

    An extension file is a SCIM Schema resource in JSON; its `resourceType` (default `User`) is the
    one that it extends. Raises SchemaError.
    """
    extensions: dict[str, dict[str, Schema]] = {name: {} for name in _ENDPOINTS}
    core: dict[str, Schema] = {}
    for name, (_, _, core_file, shipped) in _ENDPOINTS.items():
        core[name] = load_schema(_read(_SHIPPED / core_file), core_file)
        for file in shipped:
            schema = load_schema(_read(_SHIPPED / file), file)
            extensions[name][schema.id.lower()] = schema
    taken = {schema.id.lower() for schema in core.values()}.union(*extensions.values())
    for path in extension_files:
        document = _parse(_read(path), str(path))
        if document.resource_type not in extensions:
            raise SchemaError(f"{path}: resourceType: must be one of {', '.join(_ENDPOINTS)}")
        if document.id.lower() in taken:
            raise SchemaError(f"{path}: id: there is a schema '{document.id}' already")
        taken.add(document.id.lower())
        extensions[document.resource_type][document.id.lower()] = _schema(document, str(path))
    return {
        name: ResourceType(
            name,
            endpoint,
            description,
            core[name],
            COMMON,
            extensions[name],
            _DEFAULTS.get(name, {}),
        )
        for name, (endpoint, description, _, _) in _ENDPOINTS.items()
    }


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SchemaError(f"{path}: cannot be read as JSON: {error}") from None

"""The attribute mappings of a provisioning job: from a person or a group to a SCIM resource.

A schema is Microsoft Graph's synchronizationSchema
(https://learn.microsoft.com/graph/api/resources/synchronization-synchronizationschema). Of the
expression language, this knows the part that the non-gallery template uses.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from laptop.simulation.organisation import Person, Team

type Source = Mapping[str, Any]
"""Attributes of a directory object, by their names in schemas: `objectId`, `mail`, …"""
type Evaluate = Callable[[Source], Any]

CORE = "urn:ietf:params:scim:schemas:core:2.0"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
_ELEMENT = re.compile(r'(\w+)\[type eq "(\w+)"\]\.(\w+)')
_TOKEN = re.compile(r'\s*(?:"([^"]*)"|\[(\w+)\]|(\w+)\(|([,)]))')


class UnusableSchema(ValueError):
    """No job can run with the schema; the text says why."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a target; `priority` is its order in matching, 0: not used for matching."""

    target: str
    value: Evaluate
    priority: int = 0


@dataclass(frozen=True, slots=True)
class ObjectMapping:
    """The mapping of users or groups. `scope`: conditions of which one must hold, if there are
    any."""

    resource: str
    """`User` or `Group`."""
    attributes: tuple[Attribute, ...]
    scope: tuple[Evaluate, ...] = ()

    @property
    def matched_by(self) -> list[Attribute]:
        """The matching attributes, in their order."""
        matching = [one for one in self.attributes if one.priority]
        return sorted(matching, key=lambda one: one.priority)

    def values(self, source: Source) -> dict[str, Any]:
        """Target path → value to send of an object; attributes without a value are left out."""
        found = {one.target: one.value(source) for one in self.attributes}
        if isinstance(active := found.get("active"), str):
            found["active"] = active == "True"
        return {target: value for target, value in found.items() if value not in (None, "")}

    def holds(self, source: Source) -> bool:
        """Whether an object is in scope."""
        return not self.scope or any(group(source) for group in self.scope)

    def resource_of(self, source: Source) -> dict[str, Any]:
        """The body of the POST that creates an object, in Entra ID's form."""
        group = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"
        user = self.resource == "User"
        body: dict[str, Any] = {
            "schemas": [f"{CORE}:{self.resource}", ENTERPRISE if user else group],
            "meta": {"resourceType": self.resource},
        }
        if user:
            body["roles"] = []
        for target, value in self.values(source).items():
            write(body, target, value)
        return body


def write(body: dict[str, Any], target: str, value: Any) -> None:
    """Set the value at a target path."""
    if element := _ELEMENT.fullmatch(target):
        name, kind, part = element.groups()
        elements = body.setdefault(name, [])
        there = next((one for one in elements if one["type"] == kind), None)
        if there is None:
            there = {"primary": not elements, "type": kind}
            elements.append(there)
        there[part] = value
        return
    *parents, last = _steps(target)
    for parent in parents:
        body = body.setdefault(parent, {})
    body[last] = value


def read(resource: Mapping[str, Any], target: str) -> Any:
    """The value at a target path of a resource; None where it is missing."""
    if element := _ELEMENT.fullmatch(target):
        name, kind, part = element.groups()
        elements = [one for one in resource.get(name) or [] if one.get("type") == kind]
        return elements[0].get(part) if elements else None
    found: Any = resource
    for step in _steps(target):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _steps(target: str) -> list[str]:
    if target.startswith("urn:"):
        schema, _, path = target.rpartition(":")
        return [schema, *path.split(".")]
    return target.split(".")


def source_of_person(person: Person) -> dict[str, Any]:
    """A person's attributes by their names in Entra ID's schemas."""
    return {
        "objectId": person.object_id,
        "userPrincipalName": person.user_name,
        "mail": person.user_name,
        "givenName": person.given_name,
        "surname": person.family_name,
        "displayName": person.display_name,
        "IsSoftDeleted": str(not person.active),
    }


def source_of_team(team: Team) -> dict[str, Any]:
    """A group's attributes by their names in Entra ID's schemas."""
    return {"objectId": team.object_id, "displayName": team.display_name}


@dataclass(frozen=True, slots=True)
class Mappings:
    """Both object mappings of a job."""

    user: ObjectMapping
    group: ObjectMapping

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> "Mappings":
        """The object mappings of a schema. Raises UnusableSchema."""
        found = {
            mapping["sourceObjectName"]: mapping
            for rule in schema["synchronizationRules"]
            for mapping in rule["objectMappings"]
            if mapping.get("enabled", True)
        }
        if {"User", "Group"} - found.keys():
            raise UnusableSchema("Users and groups must both be mapped.")
        return cls(_object_mapping("User", found["User"]), _object_mapping("Group", found["Group"]))


def _object_mapping(resource: str, mapping: Mapping[str, Any]) -> ObjectMapping:
    attributes = tuple(
        Attribute(one["targetAttributeName"], expression(one["source"]), one["matchingPriority"])
        for one in mapping["attributeMappings"]
        if one["targetAttributeName"] != "members"
    )
    groups = ((mapping.get("scope") or {}).get("groups")) or []
    return ObjectMapping(resource, attributes, tuple(_all(one["clauses"]) for one in groups))


NOT_NULL = ("IS NOT NULL", "IsNotNull")
"""The names that this operator may have."""


def _all(clauses: Sequence[Mapping[str, Any]]) -> Evaluate:
    tests = [_clause(one) for one in clauses]
    return lambda source: all(test(source) for test in tests)


def _clause(clause: Mapping[str, Any]) -> Evaluate:
    name, operator = clause["sourceOperandName"], clause["operatorName"]
    values = clause["targetOperand"]["values"]
    if operator in NOT_NULL:
        return lambda source: bool(source.get(name))
    if operator == "EQUALS":
        return lambda source: source.get(name) in values
    raise UnusableSchema(f"There is no operator {operator!r}.")


def expression(source: Mapping[str, Any]) -> Evaluate:
    """A source as a function. Raises UnusableSchema for an unknown expression."""
    if source["type"] == "Attribute":
        name = source["name"]
        return lambda object: object.get(name)
    if source["type"] == "Constant":
        value = source["name"]
        return lambda _: value
    evaluate, end = _expression(source["expression"], 0)
    if source["expression"][end:].strip():
        raise UnusableSchema(f"{source['expression']!r} cannot be read.")
    return evaluate


def _expression(text: str, at: int) -> tuple[Evaluate, int]:
    found = _TOKEN.match(text, at)
    if found is None:
        raise UnusableSchema(f"{text!r} cannot be read at {at}.")
    constant, attribute, function, _ = found.groups()
    if constant is not None:
        return (lambda _: constant), found.end()
    if attribute is not None:
        return (lambda source: source.get(attribute)), found.end()
    if function not in _FUNCTIONS:
        raise UnusableSchema(f"{text!r} cannot be read at {at}.")
    return _call(text, found.end(), _FUNCTIONS[function])


def _call(text: str, at: int, function: Callable[[list[Any]], Any]) -> tuple[Evaluate, int]:
    """Parse the rest of a call after its bracket. A missing argument is null."""
    arguments: list[Evaluate] = []
    pending: Evaluate = _nothing
    while True:
        if mark := re.compile(r"\s*([,)])").match(text, at):
            arguments.append(pending)
            pending, at = _nothing, mark.end()
            if mark[1] == ")":
                return (lambda source: function([one(source) for one in arguments])), at
        else:
            pending, at = _expression(text, at)


def _nothing(_: Source) -> None:
    return None


def _switch(arguments: list[Any]) -> Any:
    subject, default, *cases = arguments
    pairs = dict(zip(cases[::2], cases[1::2], strict=True))
    return pairs.get(str(subject), default)


_FUNCTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "Switch": _switch,
    "Coalesce": lambda arguments: next((one for one in arguments if one), None),
    "Join": lambda arguments: str(arguments[0]).join(one for one in arguments[1:] if one),
}

ACTIVE = 'Switch([IsSoftDeleted], , "False", "True", "True", "False")'


def _direct(target: str, name: str, priority: int = 0) -> Attribute:
    return Attribute(target, expression({"type": "Attribute", "name": name}), priority)


CUSTOMARY = Mappings(
    ObjectMapping(
        "User",
        (
            _direct("externalId", "objectId", 1),
            _direct('emails[type eq "work"].value', "mail", 2),
            _direct("userName", "userPrincipalName"),
            _direct("name.givenName", "givenName"),
            _direct("name.familyName", "surname"),
            _direct("displayName", "displayName"),
            Attribute("active", expression({"type": "Function", "expression": ACTIVE})),
        ),
    ),
    ObjectMapping(
        "Group", (_direct("externalId", "objectId", 1), _direct("displayName", "displayName"))
    ),
)
"""The mappings of docs/entra.md."""

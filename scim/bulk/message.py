"""The body of a bulk request and what its operations refer to (RFC 7644 section 3.7). Pure.

A body that cannot be read as a bulk request refuses all of it before anything is written:
`Operations` that are no objects, an unknown method, two POSTs with one bulkId. Whatever a single
request could get wrong as well fails its own operation only.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import orjson

from scim.exchange import BASES
from scim.protocol.body import check_message
from scim.protocol.errors import InvalidSyntax, InvalidValue, PayloadTooLarge

BULK_REQUEST = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
MAXIMUM_OPERATIONS = 500
MAXIMUM_REFERENCES = 5_000
"""References by bulkId, counted once for each operation: every one in a circle is a write of its
own, when what it leads to is there."""

type Method = Literal["POST", "PUT", "PATCH", "DELETE"]

_METHODS: Mapping[str, Method] = {m: m for m in ("POST", "PUT", "PATCH", "DELETE")}


@dataclass(frozen=True, slots=True)
class BulkOperation:
    """One operation. `endpoint` is that of a resource type, None where `path` leads to none.

    `id` and `id_reference` are the resource in the path: its id, or the bulkId of the operation
    that creates it. `references` are the bulkIds that `data` refers to, `size` its bytes.
    """

    position: int
    method: Method
    path: str
    bulk_id: str | None = None
    version: str | None = None
    data: Any = None
    endpoint: str | None = None
    id: str | None = None
    id_reference: str | None = None
    references: frozenset[str] = frozenset()
    size: int = 0

    @property
    def creates(self) -> str | None:
        """The bulkId by which others refer to what it creates."""
        return self.bulk_id if self.method == "POST" else None


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """`fail_on_errors` is how many operations may fail before no further one begins; None: any
    number."""

    operations: tuple[BulkOperation, ...]
    fail_on_errors: int | None = None

    @classmethod
    def parse(cls, body: object, base_url: str, endpoints: Collection[str]) -> "BulkRequest":
        """From JSON. Raises InvalidSyntax, InvalidValue for `failOnErrors`, PayloadTooLarge beyond
        MAXIMUM_OPERATIONS and MAXIMUM_REFERENCES."""
        if not isinstance(body, dict):
            raise InvalidSyntax("The body of a bulk request must be a JSON object.")
        message = _members(body)
        check_message(message.get("schemas"), BULK_REQUEST)
        items = message.get("operations")
        if not isinstance(items, list) or not items:
            raise InvalidSyntax("`Operations` must be an array of at least one operation.")
        if len(items) > MAXIMUM_OPERATIONS:
            raise PayloadTooLarge(
                f"`Operations` holds {len(items)} operations; maxOperations is "
                f"{MAXIMUM_OPERATIONS}. Nothing was done; send them in several bulk requests."
            )
        operations = tuple(
            _operation(item, position, base_url, endpoints) for position, item in enumerate(items)
        )
        _check_unique(operations)
        _check_references(operations)
        return cls(operations, _fail_on_errors(message.get("failonerrors")))


def _members(item: Mapping[str, Any]) -> dict[str, Any]:
    """By name in lower case: attribute names have no case (RFC 7643 section 2.1)."""
    return {name.lower(): value for name, value in item.items()}


def _fail_on_errors(value: object) -> int | None:
    if value is None or (value == 0 and not isinstance(value, bool)):
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidValue(
            "`failOnErrors` must be a whole number from 1: after so many errors no further "
            "operation begins. Leave it out to have all of them processed."
        )
    return value


def _check_unique(operations: Collection[BulkOperation]) -> None:
    creators: dict[str, int] = {}
    for operation in operations:
        bulk_id = operation.creates
        if bulk_id is None:
            continue
        if bulk_id in creators:
            raise InvalidSyntax(
                f"Operations[{operation.position}].bulkId is that of "
                f"Operations[{creators[bulk_id]}], too; every POST needs one of its own. Nothing "
                "was done."
            )
        creators[bulk_id] = operation.position


def _check_references(operations: Collection[BulkOperation]) -> None:
    references = sum(len(operation.references) for operation in operations)
    if references > MAXIMUM_REFERENCES:
        raise PayloadTooLarge(
            f"The operations refer {references:,} times to what other operations create; at most "
            f"{MAXIMUM_REFERENCES:,} references by bulkId fit one bulk request. Nothing was done; "
            "create the resources first, and refer to them by their ids in further requests."
        )


def _operation(
    item: object, position: int, base_url: str, endpoints: Collection[str]
) -> BulkOperation:
    where = f"Operations[{position}]"
    if not isinstance(item, dict):
        raise InvalidSyntax(f"{where} must be an object with `method` and `path`.")
    members = _members(item)
    method = members.get("method")
    found = _METHODS.get(method.upper()) if isinstance(method, str) else None
    if found is None:
        raise InvalidSyntax(f"{where}.method must be POST, PUT, PATCH or DELETE.")
    path = _text(members, "path", where)
    if path is None:
        raise InvalidSyntax(f"{where} has no `path`, such as /Users or /Users/{{id}}.")
    data = members.get("data")
    if found == "PATCH" and isinstance(data, list):  # as in the example of RFC 7644 section 3.7.3
        data = {"Operations": data}
    endpoint, id, id_reference = _place(path, base_url, endpoints)
    return BulkOperation(
        position,
        found,
        path,
        bulk_id=_text(members, "bulkId", where),
        version=_text(members, "version", where),
        data=data,
        endpoint=endpoint,
        id=id,
        id_reference=id_reference,
        references=references(data),
        size=len(orjson.dumps(data)),
    )


def _text(members: Mapping[str, Any], name: str, where: str) -> str | None:
    """The member's text; None where there is none."""
    value = members.get(name.lower())
    if value is not None and not isinstance(value, str):
        raise InvalidSyntax(f"{where}.{name} must be a string.")
    return value or None


def _place(
    path: str, base_url: str, endpoints: Collection[str]
) -> tuple[str | None, str | None, str | None]:
    """Endpoint, id, and bulkId in place of an id, of a path such as `Users/{id}`, with or without
    the base path or the whole URL before it; all None where it leads nowhere."""
    base = urlsplit(base_url)
    origin = f"{base.scheme}://{base.netloc}".lower()
    rest = path.strip()
    if rest.lower().startswith(f"{origin}/"):
        rest = rest[len(origin) :]
    for prefix in BASES:
        if rest.lower().startswith(f"{prefix}/"):
            rest = rest[len(prefix) :]
            break
    name, *ids = [unquote(segment) for segment in rest.split("/") if segment] or [""]
    endpoint = next((e for e in endpoints if e.lower() == f"/{name.lower()}"), None)
    if endpoint is None or len(ids) > 1:
        return None, None, None
    if not ids:
        return endpoint, None, None
    reference = _WHOLE.fullmatch(ids[0])
    return (endpoint, None, reference[1]) if reference else (endpoint, ids[0], None)


# References

_WHOLE = re.compile(r"bulkId:(.+)", re.IGNORECASE | re.DOTALL)
_LAST_SEGMENT = re.compile(r"(?<=/)bulkId:([^/]+)\Z", re.IGNORECASE)
_IN_QUOTES = re.compile(r'(?<=")bulkId:([^"\\]+)(?=")', re.IGNORECASE)


def references(data: Any) -> frozenset[str]:
    """The bulkIds that the data of an operation refers to."""
    found: set[str] = set()

    def note(bulk_id: str) -> str:
        found.add(bulk_id)
        return ""

    resolved(data, note)
    return frozenset(found)


def resolved(data: Any, id_of: Callable[[str], str]) -> Any:
    """The data with ids in place of references (RFC 7644 section 3.7.2).

    A reference is a whole value `bulkId:x`, the end of a `$ref`, or a text in quotes in the
    `path` of a PATCH operation. Whatever `id_of` raises is raised.
    """
    return _resolved(data, id_of, "")


def _resolved(value: Any, id_of: Callable[[str], str], name: str) -> Any:
    match value:
        case str():
            return _resolved_text(value, id_of, name)
        case list():
            return [_resolved(item, id_of, name) for item in value]
        case dict():
            return {key: _resolved(item, id_of, key) for key, item in value.items()}
    return value


def _resolved_text(text: str, id_of: Callable[[str], str], name: str) -> str:
    whole = _WHOLE.fullmatch(text)
    if whole:
        return id_of(whole[1])
    if name.lower() == "$ref":
        return _LAST_SEGMENT.sub(lambda found: id_of(found[1]), text)
    if name.lower() == "path":
        return _IN_QUOTES.sub(lambda found: id_of(found[1]), text)
    return text


def split(data: Any, left_out: Collection[str]) -> tuple[Any, Any]:
    """The data of a POST without the values that refer to any of `left_out`, and those values
    alone, in the same places.

    A value is an attribute's, an element of a multi-valued one, or an attribute's in the object
    of an extension.
    """
    if not left_out:
        return data, {}
    if not isinstance(data, dict):
        return data, {}
    rest: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    for key, value in data.items():
        without: Any = value
        alone: Any = None
        if isinstance(value, list):
            without = [item for item in value if references(item).isdisjoint(left_out)]
            alone = [item for item in value if not references(item).isdisjoint(left_out)]
        elif isinstance(value, dict) and key[:4].lower() == "urn:":
            without = {k: v for k, v in value.items() if references(v).isdisjoint(left_out)}
            alone = {k: v for k, v in value.items() if not references(v).isdisjoint(left_out)}
        elif not references(value).isdisjoint(left_out):
            without, alone = None, value
        rest[key] = without
        if alone:
            parts[key] = alone
    return rest, parts

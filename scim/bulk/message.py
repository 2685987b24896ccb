"""The body of a bulk request and what its operations refer to (RFC 7644 section 3.7). Pure.

A body that is no valid bulk request is refused as a whole before anything is written: `Operations`
that are no objects, an unknown method, two POSTs with the same bulkId. Any error that a single
request could have fails only its operation.
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
"""References by bulkId, counted once per operation: in a circle, each is a separate write once its
target exists."""

type Method = Literal["POST", "PUT", "PATCH", "DELETE"]

_METHODS: Mapping[str, Method] = {m: m for m in ("POST", "PUT", "PATCH", "DELETE")}


@dataclass(frozen=True, slots=True)
class BulkOperation:
    """One operation. `endpoint` is the resource type's; None where `path` leads to none.

    `id` or `id_reference` identifies the resource in the path: by its id, or by the bulkId of the
    operation that creates it. `references` are the bulkIds that `data` refers to, `size` is its
    size in bytes.
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
        """The bulkId of the resource that the operation creates, for references from others."""
        return self.bulk_id if self.method == "POST" else None


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """A bulk request. No further operation begins after `fail_on_errors` have failed; None: any
    number may fail."""

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
    endpoint, id, id_reference = _target(path, base_url, endpoints)
    written = orjson.dumps(data)
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
        # Its bytes show at once that most data refers to nothing.
        references=references(data) if b"bulkid:" in written.lower() else frozenset(),
        size=len(written),
    )


def _text(members: Mapping[str, Any], name: str, where: str) -> str | None:
    """The text of a member; None where it is missing or empty."""
    value = members.get(name.lower())
    if value is not None and not isinstance(value, str):
        raise InvalidSyntax(f"{where}.{name} must be a string.")
    return value or None


def _target(
    path: str, base_url: str, endpoints: Collection[str]
) -> tuple[str | None, str | None, str | None]:
    """The endpoint of a path such as `Users/{id}`, and the id in it or the bulkId in place of an
    id. The base path or the whole URL may precede it. All None where the path leads nowhere."""
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

_WHOLE = re.compile(r"bulkId:(.+)", re.IGNORECASE | re.DOTALL | re.ASCII)
_LAST_SEGMENT = re.compile(r"(?<=/)bulkId:([^/]+)\Z", re.IGNORECASE | re.ASCII)
_IN_QUOTES = re.compile(r'(?<=")bulkId:([^"\\]+)(?=")', re.IGNORECASE | re.ASCII)


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
    `path` of a PATCH operation. Raises what `id_of` raises.
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

    A value is that of an attribute, also of one in an extension, or an element of a multi-valued
    attribute.
    """
    if not left_out or not isinstance(data, dict):
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

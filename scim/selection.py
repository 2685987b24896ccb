"""Which resources a query asks for: filter, sorting and paging (RFC 7644 section 3.4.2)."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from directory.condition import EVERYTHING, NOTHING, Condition
from directory.indexing import scanned
from directory.store import Order, Query
from scim.protocol.binding import BoundFilter, bind, related, resolve, sort_path
from scim.protocol.body import check_message
from scim.protocol.errors import InvalidFilter, InvalidSyntax, InvalidValue
from scim.protocol.filter import parse_filter
from scim.protocol.schema import ResourceType
from scim.protocol.scope import Unknown

PAGE_DEFAULT = 100
PAGE_LIMIT = 200
"""The most resources in one answer; /ServiceProviderConfig announces it."""

MOST_SCANNED = 10
"""The most comparisons of a filter that no index answers, so that every resource of the tenant must
be read; conditions on memberships count, too."""

PARAMETER_CHARACTERS = 8192
"""The length that a parameter can have in a URL, and the limit for one in a body."""

SEARCH_REQUEST = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
_SEARCH_PARAMETERS: Mapping[str, str] = {
    "attributes": "an array of strings",
    "excludedAttributes": "an array of strings",
    "filter": "a string",
    "sortBy": "a string",
    "sortOrder": "a string",
    "startIndex": "a whole number",
    "count": "a whole number",
    "cursor": "a string",
}


def search_parameters(body: Any) -> dict[str, str]:
    """The parameters in the body of a `.search` (RFC 7644 section 3.4.3), in the form of the URL's.
    Raises InvalidSyntax for a wrong parameter: ignoring it would widen the search."""
    if not isinstance(body, dict):
        raise InvalidSyntax("The body of a search must be a JSON object.")
    check_message(body.get("schemas"), SEARCH_REQUEST)
    parameters: dict[str, str] = {}
    for name, expected in _SEARCH_PARAMETERS.items():
        match body.get(name):
            case None:
                continue
            case list() as value if expected == "an array of strings" and _are_strings(value):
                parameters[name] = ",".join(value)
            case str() as value if expected == "a string":
                parameters[name] = value
            case int() as value if expected == "a whole number" and not isinstance(value, bool):
                parameters[name] = str(value)
            case _:
                raise InvalidSyntax(f"'{name}' of a SearchRequest must be {expected}.")
    return check_lengths(parameters)


def check_lengths(parameters: dict[str, str]) -> dict[str, str]:
    """The parameters. Raises InvalidValue for one that is too long; `filter` has its own limit in
    the parser."""
    for name, value in parameters.items():
        if len(value) > PARAMETER_CHARACTERS and name != "filter":
            raise InvalidValue(
                f"The parameter {name[:40]!r} has {len(value):,} characters; at most "
                f"{PARAMETER_CHARACTERS:,} are allowed. Ask for less at once."
            )
    return parameters


def _are_strings(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


@dataclass(frozen=True, slots=True)
class Selection:
    """A parsed query. `start_index` counts from 1; `filter` may still contain `Related`.

    `cursor` is None where the client pages by index, and empty where it asks for the first page
    (RFC 9865). `question` is the query that a cursor is valid for: filter and sorting as sent.
    """

    filter: BoundFilter
    order: tuple[Order, ...]
    start_index: int
    count: int
    cursor: str | None = None
    question: str = ""

    @classmethod
    def parse(
        cls,
        resource_type: ResourceType,
        parameters: Mapping[str, str],
        *,
        unknown: Unknown = "refuse",
    ) -> "Selection":
        """From query parameters; `unknown` is how to treat filters on attributes that the type
        lacks. Raises InvalidFilter, InvalidValue."""
        text = parameters.get("filter")
        bound: BoundFilter = EVERYTHING
        if text is not None:
            bound = bind(resource_type, parse_filter(text), unknown=unknown)
            _check_scanned(resource_type, bound)
        order: tuple[Order, ...] = ()
        if parameters.get("sortBy"):
            path = sort_path(resource_type, parameters["sortBy"])
            order = (Order(path, _is_descending(parameters.get("sortOrder") or "ascending")),)
        return cls(
            filter=bound,
            order=order,
            start_index=max(1, _integer(parameters, "startIndex", 1)),
            count=min(PAGE_LIMIT, max(0, _integer(parameters, "count", PAGE_DEFAULT))),
            cursor=parameters.get("cursor"),
            question=repr([parameters.get(name) for name in ("filter", "sortBy", "sortOrder")]),
        )

    def query(self, document_type: str, condition: Condition) -> Query:
        """The store's query for the page."""
        return Query(
            document_type,
            condition,
            order=self.order,
            limit=self.count,
            offset=self.start_index - 1,
        )


def _check_scanned(resource_type: ResourceType, bound: BoundFilter) -> None:
    looked_up = sum(max(1, scanned("Membership", each.condition)) for each in related(bound))
    own = scanned(resource_type.name, resolve(bound, defaultdict(lambda: NOTHING)))
    if own + looked_up > MOST_SCANNED:
        raise InvalidFilter(
            f"The filter has {own + looked_up} comparisons that no index answers; at most"
            f" {MOST_SCANNED} are taken. Ask with eq, for what identifies a resource (id, userName,"
            " externalId, displayName, emails.value), or in several requests."
        )


def _is_descending(sort_order: str) -> bool:
    if sort_order.lower() not in ("ascending", "descending"):
        raise InvalidValue("sortOrder must be ascending or descending (RFC 7644 section 3.4.2.3).")
    return sort_order.lower() == "descending"


_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}")


def _integer(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None or text == "":
        return default
    if not _INTEGER.fullmatch(text):
        raise InvalidValue(
            f"{name} must be a whole number, such as {name}=1 (RFC 7644 section 3.4.2.4)."
        )
    return max(-1, min(int(text), 2**53))

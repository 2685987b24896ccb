"""Which resources a query asks for: filter, sorting and index paging (RFC 7644 section 3.4.2)."""

from collections.abc import Mapping
from dataclasses import dataclass

from directory.condition import EVERYTHING, Condition
from directory.store import Order, Query
from scim.binding import BoundFilter, bind, sort_path
from scim.errors import InvalidValue
from scim.filter import parse_filter
from scim.schema import ResourceType

PAGE_DEFAULT = 100
PAGE_LIMIT = 200
"""The most resources in one answer; /ServiceProviderConfig announces it."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A parsed query. `start_index` counts from 1; `filter` may still ask about memberships."""

    filter: BoundFilter
    order: tuple[Order, ...]
    start_index: int
    count: int

    @classmethod
    def parse(cls, resource_type: ResourceType, parameters: Mapping[str, str]) -> "Selection":
        """From query parameters. Raises InvalidFilter, InvalidValue."""
        text = parameters.get("filter")
        order: tuple[Order, ...] = ()
        if parameters.get("sortBy"):
            descending = parameters.get("sortOrder", "").lower() == "descending"
            order = (Order(sort_path(resource_type, parameters["sortBy"]), descending),)
        return cls(
            filter=EVERYTHING if text is None else bind(resource_type, parse_filter(text)),
            order=order,
            start_index=max(1, _integer(parameters, "startIndex", 1)),
            count=min(PAGE_LIMIT, max(0, _integer(parameters, "count", PAGE_DEFAULT))),
        )

    @property
    def includes_first(self) -> bool:
        """Whether the page holds the first result."""
        return self.start_index == 1 and self.count > 0

    def query(self, document_type: str, condition: Condition) -> Query:
        """The page as the store is asked for it."""
        return Query(
            document_type,
            condition,
            order=self.order,
            limit=self.count,
            offset=self.start_index - 1,
        )


def _integer(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None or text == "":
        return default
    try:
        return max(-1, min(int(text), 2**53))
    except ValueError:
        raise InvalidValue(
            f"{name} must be a whole number, such as {name}=1 (RFC 7644 section 3.4.2.4)."
        ) from None

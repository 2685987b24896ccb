"""A page of a list."""

from dataclasses import dataclass

PAGE = 50
MOST_PER_PAGE = 200


@dataclass(frozen=True, slots=True)
class PageOf[Row]:
    """Rows, and the continuation of the next page where there is one."""

    rows: tuple[Row, ...]
    next: str | None = None

"""One operation of a JSON interface: path, parameters, body and answers. The routes and the OpenAPI
document of the interface are both made from it."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from directory.documents import Model

JSON = "application/json"
CSV = "text/csv"


class Answer(BaseModel):
    """What an operation answers."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        from_attributes=True,
        frozen=True,
        use_attribute_docstrings=True,
        defer_build=True,
    )

    @property
    def etag(self) -> str | None:
        """The version that If-Match can name."""
        return None


class Body(BaseModel):
    """The body of a request: values are not converted, and unknown members are refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        frozen=True,
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        defer_build=True,
    )


class Parameters(BaseModel):
    """The parameters of a query."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        defer_build=True,
    )


class Fault(Answer):
    """One fault of a request."""

    pointer: str
    """Where the fault is: a JSON pointer into the body, such as `/grants/0/key`, or the name of a
    parameter."""
    detail: str
    """What."""


class ProblemDetails(Answer):
    """What is wrong, and what to do (RFC 9457)."""

    title: str
    status: int
    detail: str
    errors: tuple[Fault, ...] | None = None


type Handler = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Operation:
    """`path` is below its interface's. The handler's docstring is the operation's description."""

    method: str
    path: str
    handler: Handler
    answer: type[BaseModel | str] | None
    """str: CSV. None: 204, without a body."""
    query: type[Parameters] = Parameters
    body: type[Body] | None = None
    file: type[Model] | None = None
    """A file that the handler reads itself: JSON of this model, or CSV."""
    in_csv: bool = True
    """Whether the file can be CSV, too."""
    status: int = 200
    conditional: bool = False
    """Whether If-Match counts."""
    cached: bool = False
    """Whether If-None-Match counts."""
    other_media_type: int = 415
    """The status where Content-Type is not JSON."""
    refusals: tuple[int, ...] = ()
    """Statuses of further errors, besides those of every such operation."""
    suffix: str = ""
    """Distinguishes its operationId from that of another operation with the same handler."""

    @property
    def media_types(self) -> tuple[str, ...]:
        """The media types that its body may have."""
        return (JSON, CSV) if self.file and self.in_csv else (JSON,)

    @property
    def name(self) -> str:
        """Its operationId."""
        words = "".join(part.title() if n else part for n, part in enumerate(self._words))
        return words + self.suffix

    @property
    def _words(self) -> list[str]:
        return self.handler.__name__.strip("_").split("_")

    @property
    def subject(self) -> str:
        """What it is about."""
        return self.path.split("/")[1].removesuffix(".csv")

    @property
    def description(self) -> str:
        """What it does."""
        return " ".join((inspect.getdoc(self.handler) or "").split())

"""Stand-ins for the messages that the Functions host and the Python runtime exchange.

On Azure these are protobuf classes generated from FunctionRpc.proto
(https://github.com/Azure/azure-functions-language-worker-protobuf), which the worker hands to the
runtime. In one process, plain classes with the same names and fields are enough: the runtime gets
this module as its `protos`.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar


class TypedData:
    """A value in the field named for its type: `TypedData(bytes=b"…")`."""

    http: Any
    bytes: Any

    def __init__(self, **value: Any) -> None:
        self._field = next(iter(value), None)
        self.__dict__.update(value)

    def WhichOneof(self, group: str) -> str | None:  # noqa: N802, ARG002 (protobuf's name)
        """The name of the field that is set."""
        return self._field


@dataclass(slots=True)
class Timestamp:
    """Seconds since 1970, UTC."""

    seconds: int


@dataclass(slots=True)
class Nullable:
    """An optional value that is present."""

    value: Any


NullableString = NullableBool = NullableDouble = NullableTimestamp = Nullable


class SameSite:
    """The values of a cookie's SameSite; 0, named `None` and set below, means that it is absent."""

    Lax = 1
    Strict = 2
    ExplicitNone = 3


setattr(SameSite, "None", 0)


@dataclass(slots=True)
class RpcHttpCookie:
    """The parts of a Set-Cookie header."""

    SameSite: ClassVar[type[SameSite]] = SameSite

    name: str
    value: str
    domain: Nullable | None = None
    path: Nullable | None = None
    expires: Nullable | None = None
    secure: Nullable | None = None
    http_only: Nullable | None = None
    same_site: int = 0
    max_age: Nullable | None = None


@dataclass(slots=True)
class RpcHttp:
    """A request to a function, or its response."""

    method: str = ""
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: TypedData = field(default_factory=TypedData)
    status_code: str = ""
    cookies: list[RpcHttpCookie] | None = None
    enable_content_negotiation: bool = False


@dataclass(slots=True)
class ParameterBinding:
    """An argument of an invocation, always by value."""

    name: str
    data: TypedData

    def WhichOneof(self, group: str) -> str:  # noqa: N802, ARG002 (protobuf's name)
        """The name of the field that is set."""
        return "data"


@dataclass(slots=True)
class RpcException:
    """The exception that ended an invocation."""

    message: str
    stack_trace: str = ""


@dataclass(slots=True)
class StatusResult:
    """The outcome of a request to the runtime."""

    Failure: ClassVar[int] = 0
    Success: ClassVar[int] = 1

    status: int
    exception: RpcException | None = None


@dataclass(slots=True)
class BindingInfo:
    """A binding, which the runtime compares with a function's parameter."""

    out: ClassVar[int] = 1
    inout: ClassVar[int] = 2
    undefined: ClassVar[int] = 0

    type: str
    data_type: int | None
    direction: int


@dataclass(slots=True)
class InvocationResponse:
    """The result of an invocation."""

    invocation_id: str
    result: StatusResult
    return_value: TypedData | None = None
    output_data: list[ParameterBinding] = field(default_factory=list)


class WorkerInitResponse(SimpleNamespace):
    """Whether the app could be indexed."""


class WorkerMetadata(SimpleNamespace):
    """The name and version of the runtime."""


class FunctionMetadataResponse(SimpleNamespace):
    """The functions that indexing found."""


class RpcFunctionMetadata(SimpleNamespace):
    """One function: its name, its id, its bindings as JSON."""


class RpcRetryOptions(SimpleNamespace):
    """A function's retry policy."""

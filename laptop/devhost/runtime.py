"""The Functions Python runtime, driven in this process.

`azure_functions_runtime` is what Azure itself runs on Python 3.13: it imports function_app.py,
indexes its functions and invokes them. This module takes the host's part, so that a laptop and the
tests index, bind and invoke with the code that production uses. The runtime keeps its registry in
globals, so a process can have one app.
"""

import json
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as worker

from laptop.devhost import protobuf
from laptop.devhost.protobuf import ParameterBinding, RpcException, RpcHttp, TypedData


class IndexingFailed(Exception):
    """The functions could not be indexed. The message is for the developer."""


class InvocationFailed(Exception):
    """A function raised an exception; `stack_trace` is the function's."""

    def __init__(self, function: str, exception: RpcException) -> None:
        super().__init__(f"{function} failed: {exception.message}")
        self.stack_trace = exception.stack_trace


@dataclass(frozen=True, slots=True)
class Function:
    """An indexed function. `trigger` is its trigger binding in the host's form (camelCase keys:
    `type`, `name`, `route`, `queueName`, `schedule` …)."""

    id: str
    name: str
    trigger: dict[str, Any]


@dataclass(frozen=True, slots=True)
class FunctionApp:
    """An app whose functions can be invoked."""

    functions: tuple[Function, ...]

    @classmethod
    async def load(cls, directory: Path) -> "FunctionApp":
        """Index the app in a folder. Raises IndexingFailed."""
        _append_to_path(directory)
        worker.start_threadpool_executor()
        request = SimpleNamespace(
            worker_init_request=SimpleNamespace(
                capabilities={}, function_app_directory=str(directory)
            )
        )
        properties = {"protos": protobuf, "host": "127.0.0.1"}
        started = await worker.worker_init_request(
            SimpleNamespace(request=request, properties=properties)
        )
        if started.result.status != protobuf.StatusResult.Success:
            raise IndexingFailed(started.result.exception.stack_trace)
        indexed = await worker.functions_metadata_request(None)
        if not indexed.function_metadata_results:
            raise IndexingFailed(f"{directory} holds no function_app.py with functions in it.")
        return cls(tuple(_function(found) for found in indexed.function_metadata_results))

    def triggered_by(self, trigger_type: str) -> tuple[Function, ...]:
        """The functions with this type of trigger: `httpTrigger`, `serviceBusTrigger` or
        `timerTrigger`."""
        return tuple(each for each in self.functions if each.trigger["type"] == trigger_type)

    async def invoke_http(self, function: Function, request: RpcHttp) -> RpcHttp:
        """Answer a request. Raises InvocationFailed, also for a result that is a plain string,
        which the host would serve as text: no function of Muster returns one."""
        value = await _invoke(function, TypedData(http=request), {})
        if value is None or value.WhichOneof("data") != "http":
            raise InvocationFailed(function.name, RpcException("It returned no HttpResponse."))
        response: RpcHttp = value.http
        return response

    async def invoke_queue(
        self, function: Function, body: bytes, *, message_id: str, delivery_count: int
    ) -> None:
        """Deliver one Service Bus message; `delivery_count` is 1 at the first attempt. Raises
        InvocationFailed."""
        metadata = {
            "MessageId": TypedData(string=message_id),
            "DeliveryCount": TypedData(json=str(delivery_count)),
            "UserProperties": TypedData(json="{}"),
            "ApplicationProperties": TypedData(json="{}"),
        }
        await _invoke(function, TypedData(string=body.decode()), metadata)

    async def invoke_timer(self, function: Function) -> None:
        """Run a timer function as if it were due now. Raises InvocationFailed."""
        await _invoke(function, TypedData(json='{"IsPastDue": false}'), {})


_NO_TRACE = SimpleNamespace(trace_parent="", trace_state="", attributes={})
_NO_RETRY = SimpleNamespace(retry_count=0, max_retry_count=0, exception=None)


async def _invoke(
    function: Function, argument: TypedData, metadata: Mapping[str, TypedData]
) -> TypedData | None:
    invocation = SimpleNamespace(
        invocation_id=secrets.token_hex(16),  # a fifth of the cost of a UUID as text
        function_id=function.id,
        input_data=(ParameterBinding(function.trigger["name"], argument),),
        trigger_metadata=metadata,
        trace_context=_NO_TRACE,
        retry_context=_NO_RETRY,
    )
    response: protobuf.InvocationResponse = await worker.invocation_request(
        SimpleNamespace(request=SimpleNamespace(invocation_request=invocation))
    )
    if response.result.exception is not None:
        raise InvocationFailed(function.name, response.result.exception)
    return response.return_value


def _function(metadata: Any) -> Function:
    bindings = [json.loads(raw) for raw in metadata.raw_bindings]
    trigger = next(each for each in bindings if each["type"].lower().endswith("trigger"))
    return Function(metadata.function_id, metadata.name, trigger)


def _append_to_path(directory: Path) -> None:
    """Put the app folder last on the module path, as Azure does, so that an installed package which
    shadows a module of Muster does so on the laptop, too."""
    ours = directory.resolve()
    sys.path[:] = [each for each in sys.path if Path(each).resolve() != ours]
    sys.path.append(str(ours))

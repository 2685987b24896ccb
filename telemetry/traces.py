"""Traces by OpenTelemetry: the request, its store calls, the sending of its event, and the
reconciliation of that event, as one trace.

Spans hold names, ids and counts only: no value that a client sent, and no exception's text. Where
traces are off, OpenTelemetry is not even imported, and a span costs a comparison.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Span, Tracer

type Kind = Literal["internal", "server", "client", "producer", "consumer"]

CONNECTION_STRING = "APPLICATIONINSIGHTS_CONNECTION_STRING"

_NO_SPAN: AbstractContextManager[None] = nullcontext()
_tracer: "Tracer | None" = None


def configure(output: str = "", share: float = 1.0) -> None:
    """Send spans to standard error if `output` is `console`, and otherwise to Application Insights
    if its connection string is set. `share` of the traces are kept, each of them whole."""
    if output == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

        exporter = ConsoleSpanExporter(out=sys.stderr, formatter=_line)
        start(SimpleSpanProcessor(exporter), share)
    elif os.environ.get(CONNECTION_STRING):
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import set_tracer_provider

        set_tracer_provider(start(BatchSpanProcessor(_deferred()), share))  # the exporter needs it


def start(processor: "SpanProcessor", share: float = 1.0) -> "TracerProvider":
    """Hand every finished span to `processor` from now on.

    Whether a trace is kept depends only on its id: the Functions host marks its own spans as not
    sampled, and the decision must be the same for a request and its reconciliation.
    """
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    global _tracer  # noqa: PLW0603 - one per process is the point
    name = os.environ.get("OTEL_SERVICE_NAME") or os.environ.get("WEBSITE_SITE_NAME") or "muster"
    provider = TracerProvider(
        sampler=TraceIdRatioBased(share), resource=Resource.create({"service.name": name})
    )
    provider.add_span_processor(processor)
    _tracer = provider.get_tracer("muster")
    return provider


def enabled() -> bool:
    """Whether spans are made."""
    return _tracer is not None


def span(
    name: str,
    kind: Kind = "internal",
    *,
    parent: str | None = None,
    linked: Sequence[str] = (),
    **values: str | int,
) -> "AbstractContextManager[Span | None]":
    """A span as a context manager. `parent` and `linked` are results of `traceparent` elsewhere;
    without `parent`, the current span is the parent."""
    if _tracer is None:
        return _NO_SPAN
    return _recorded(_tracer, name, kind, parent, linked, values)


def traceparent() -> str | None:
    """The current span, for work elsewhere that continues its trace
    (https://www.w3.org/TR/trace-context/)."""
    if _tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    current = get_current_span().get_span_context()
    if not current.is_valid:
        return None
    return f"00-{current.trace_id:032x}-{current.span_id:016x}-{current.trace_flags:02x}"


@contextmanager
def _recorded(
    tracer: "Tracer",
    name: str,
    kind: Kind,
    parent: str | None,
    linked: Iterable[str],
    values: dict[str, str | int],
) -> "Iterator[Span]":
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode, get_current_span

    with tracer.start_as_current_span(
        name,
        _context(parent) if parent else None,
        SpanKind[kind.upper()],
        {f"muster.{key}": value for key, value in values.items()},
        [Link(get_current_span(_context(one)).get_span_context()) for one in linked],
        record_exception=False,  # its text may hold personal data
        set_status_on_exception=False,
    ) as made:
        try:
            yield made
        except BaseException as error:
            made.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def _context(traceparent: str) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent})


def _line(made: "ReadableSpan") -> str:
    """One line for a person at a terminal."""
    seconds = ((made.end_time or 0) - (made.start_time or 0)) / 1e9
    context, parent = made.context, made.parent
    ids = f"{context.trace_id:032x}/{context.span_id:016x}" if context else "-"
    above = f" in {parent.span_id:016x}" if parent else ""
    values = " ".join(f"{key}={value!r}" for key, value in (made.attributes or {}).items())
    return f"span {ids}{above}  {made.name}  {seconds * 1000:.1f} ms  {values}\n"


def _deferred() -> "SpanExporter":
    """The exporter for Application Insights, imported by the thread that first sends spans: the
    import takes more than a second, and no request should wait for it."""
    from opentelemetry.sdk.trace.export import SpanExporter

    class Deferred(SpanExporter):
        _exporter: SpanExporter | None = None

        def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
            if self._exporter is None:
                self._exporter = _application_insights()
            return self._exporter.export(spans)

        def shutdown(self) -> None:
            if self._exporter is not None:
                self._exporter.shutdown()

    return Deferred()


def _application_insights() -> "SpanExporter":
    """The exporter; with the managed identity if APPLICATIONINSIGHTS_AUTHENTICATION_STRING says
    so."""
    from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter

    return AzureMonitorTraceExporter(disable_offline_storage=True)

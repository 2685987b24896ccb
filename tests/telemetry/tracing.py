"""Spans for as long as a test runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from telemetry import traces


@contextmanager
def tracing(processor: SpanProcessor) -> Iterator[None]:
    """Hand every finished span to `processor` meanwhile."""
    provider = traces.start(processor)
    try:
        yield
    finally:
        stop(provider)


def stop(provider: TracerProvider) -> None:
    """Send the remaining spans; none are made afterwards."""
    traces._tracer = None
    provider.shutdown()

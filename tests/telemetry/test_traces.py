"""Traces: one from the request to the access record, and nothing personal in any span."""

import asyncio
import gzip
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import get_tracer_provider

from directory.documents import event_id
from directory.store import Query
from directory.traced import TracedStore
from telemetry import traces
from tests.environment import TENANT, running
from tests.scim.messages import add, create_group, create_user
from tests.telemetry.tracing import stop, tracing


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """What is told of spans while a test runs."""
    exporter = InMemorySpanExporter()
    with tracing(SimpleSpanProcessor(exporter)):
        yield exporter


def above(span: ReadableSpan, spans: list[ReadableSpan]) -> list[str]:
    """The names of a span and of those that it is in, outermost last."""
    by_id = {each.context.span_id: each for each in spans}
    names = [span.name]
    while span.parent is not None:
        span = by_id[span.parent.span_id]
        names.append(span.name)
    return names


async def test_one_trace_from_the_request_to_the_access_record(
    tmp_path: Path, exporter: InMemorySpanExporter
) -> None:
    async with running(tmp_path) as muster:
        ada = await create_user(muster.client, "ada")
        sales = await create_group(muster.client, "Sales")
        await muster.settle()
        exporter.clear()
        answer = await muster.client.patch(f"/Groups/{sales}", json=add([ada]))
        await muster.settle()
        spans = list(exporter.get_finished_spans())
        (request,) = [span for span in spans if span.name == "PATCH /Groups/{id}"]
        ours = [s for s in spans if s.context.trace_id == request.context.trace_id]
        found = [above(span, ours) for span in ours]
        for expected in (
            ["store batch", "PATCH /Groups/{id}"],
            ["relay send", "PATCH /Groups/{id}"],
            ["store batch", "reconcile", "PATCH /Groups/{id}"],
        ):
            assert expected in found
        assert request.attributes is not None
        assert request.attributes["muster.request"] == answer.headers["x-request-id"]
        assert request.attributes["muster.tenant"] == TENANT
        (reconcile,) = [span for span in ours if span.name == "reconcile"]
        assert reconcile.attributes is not None
        event = str(reconcile.attributes["muster.event"])
        stored = await muster.application.store.read(TENANT, event_id(event))
        access = (await muster.application.store.read(TENANT, f"access:{ada}")).document
        assert access["eventId"] == stored.document["eventId"] == event


async def test_events_of_several_requests_in_one_send_are_linked(
    tmp_path: Path, exporter: InMemorySpanExporter
) -> None:
    """A send belongs to the first one's trace, and names the others."""
    async with running(tmp_path) as muster:
        for name in ("ada", "grace", "alan"):
            await create_user(muster.client, name)
        await muster.settle()
        spans = exporter.get_finished_spans()
        requests = {s.context.span_id for s in spans if s.name == "POST /Users"}
        sends = [span for span in spans if span.name == "relay send"]
        named = [span.parent.span_id for span in sends if span.parent]
        named += [link.context.span_id for span in sends for link in span.links]
        assert sorted(named) == sorted(requests)


async def test_a_span_has_no_text_of_an_exception(
    tmp_path: Path, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as muster:

        async def fails(tenant_id: str, document_id: str) -> None:
            raise RuntimeError("zoe@example.com")

        await muster.client.get("/Users")  # the tenant is remembered from here on
        traced = muster.application.store
        assert isinstance(traced, TracedStore)
        monkeypatch.setattr(traced._store, "read", fails)
        assert (await muster.client.get(f"/Users/{'0' * 26}")).status_code == 500
        with pytest.raises(RuntimeError):
            await muster.application.reconciler.handle(TENANT, "0" * 26)
        told = "".join(span.to_json() for span in exporter.get_finished_spans())
        assert '"status_code": "ERROR"' in told
        assert "zoe" not in told


async def test_without_tracing_there_is_neither_span_nor_trace(tmp_path: Path) -> None:
    async with running(tmp_path) as muster:
        assert not isinstance(muster.application.store, TracedStore)
        id = await create_user(muster.client, "ada")
        found = await muster.application.store.query(TENANT, Query("Event"))
        (event,) = [stored.document for stored in found.items]
        assert event["resourceId"] == id
        assert "traceparent" not in event


class Ingestion(BaseHTTPRequestHandler):
    """Application Insights' end; keeps what it is sent."""

    received: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Accept everything."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.received.append(body.decode())
        answer = b'{"itemsReceived": 1, "itemsAccepted": 1, "errors": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing to say."""


@pytest.fixture
def ingestion(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What Application Insights receives; its connection string is set."""
    Ingestion.received.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Ingestion) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        key = "00000000-0000-0000-0000-000000000001"
        monkeypatch.setenv(
            traces.CONNECTION_STRING,
            f"InstrumentationKey={key};IngestionEndpoint={endpoint}/;LiveEndpoint={endpoint}/",
        )
        for of_its_own in ("STATSBEAT_DISABLED_ALL", "SDKSTATS_DISABLED", "CONTROLPLANE_DISABLED"):
            monkeypatch.setenv(f"APPLICATIONINSIGHTS_{of_its_own}", "true")
        yield Ingestion.received
        server.shutdown()


async def test_application_insights_receives_the_trace(
    tmp_path: Path, ingestion: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    traces.configure()
    provider = get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    try:
        async with running(tmp_path) as muster:
            await create_user(muster.client, "zoe")
            await muster.settle()
    finally:
        await asyncio.to_thread(stop, provider)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    told = "".join(ingestion)
    for name in ("POST /Users", "store batch", "relay send", "reconcile"):
        assert f'"{name}"' in told
    assert "zoe" not in told

"""What a real application sends: OpenTelemetry's own SDK and OTLP exporter, pointed at the collector by the README."""

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from gateway.errors import FACES, Face
from llmobs.ingest.otlp.decode import decode
from llmobs.pricing.usage import Usage
from llmobs.tenants.attribution import Attribution
from tests.gateway.running import Gateway
from tests.gateway.test_grpc import full_at_first, some_spans


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_a_call_reported_by_the_sdk_arrives_with_its_usage_and_attribution(
    gateway: Gateway, secret: str, monkeypatch: pytest.MonkeyPatch, compression: Compression
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", gateway.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{secret}")
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(compression=compression)))
    tracer = provider.get_tracer("app")
    with tracer.start_as_current_span("chat gpt-4o-mini") as span:
        span.set_attribute("gen_ai.operation.name", "chat")
        span.set_attribute("gen_ai.provider.name", "openai")
        span.set_attribute("gen_ai.request.model", "gpt-4o-mini")
        span.set_attribute("gen_ai.usage.input_tokens", 120)
        span.set_attribute("gen_ai.usage.output_tokens", 30)
        span.set_attribute("llmobs.feature", "support")
    provider.shutdown()
    [entry] = gateway.otlp()
    [decoded] = decode(entry, Attribution())
    assert (decoded.is_call, decoded.usage) == (True, Usage(uncached_input=120, output=30))
    assert (decoded.attribution.service, decoded.attribution.feature) == ("shop", "support")


def test_the_exporter_sends_again_what_a_full_journal_did_not_take(
    gateway: Gateway, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gateway.plane is not None
    journal = gateway.plane.recorder.journal
    at_once = Face(FACES["journal_full"].openai, FACES["journal_full"].anthropic, [(b"retry-after", b"0")])
    monkeypatch.setitem(FACES, "journal_full", at_once)
    monkeypatch.setattr(journal, "append", full_at_first(journal, 2))
    exporter = OTLPSpanExporter(endpoint=f"{gateway.url}/v1/traces", headers={"authorization": f"Bearer {secret}"})
    assert exporter.export(some_spans(3)) is SpanExportResult.SUCCESS
    exporter.shutdown()  # type: ignore[no-untyped-call]
    [entry] = gateway.otlp()
    assert len(decode(entry, Attribution())) == 3


def test_the_exporter_learns_that_its_key_is_wrong(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = OTLPSpanExporter(endpoint=f"{gateway.url}/v1/traces", headers={"authorization": "Bearer nobody"})
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("app").start_span("step").end()
    provider.shutdown()
    assert gateway.otlp() == []

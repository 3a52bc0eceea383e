"""What the door took is stored once, whatever else came through it: gateway, journal, writer, database."""

import time
from typing import Any

import httpx2 as httpx
import psycopg
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from llmobs.ingest.writing import Writer
from llmobs.ops.verify import verify
from tests.gateway.running import Gateway
from tests.gateway.test_collector import PROTOBUF, TRACES, YEAR_NS, spans
from tests.gateway.test_refusals import CHAT, GOOD, NO_REQUESTS
from tests.gateway.written import shared_gateway, writer

__all__ = ["shared_gateway", "writer"]

Connection = psycopg.Connection[Any]


def a_call() -> ExportTraceServiceRequest:
    request = spans(time.time_ns())
    texts = {"operation.name": "chat", "provider.name": "openai", "request.model": "gpt-4o-mini"}
    [span] = request.resource_spans[0].scope_spans[0].spans
    for name, text in texts.items():
        span.attributes.add(key=f"gen_ai.{name}").value.string_value = text
    for name, tokens in {"input": 1000, "output": 100}.items():
        span.attributes.add(key=f"gen_ai.usage.{name}_tokens").value.int_value = tokens
    return request


def test_a_span_twice_in_one_body_is_stored_and_billed_once(http: httpx.Client, writer: Writer, pg: Connection) -> None:
    twice = a_call()
    sent = twice.resource_spans[0].scope_spans[0].spans
    sent.add().CopyFrom(sent[0])
    assert http.post(TRACES, content=twice.SerializeToString(), headers=PROTOBUF).status_code == 200
    writer.drain()
    assert pg.execute("SELECT count(*) FROM span").fetchone() == (1,)
    assert pg.execute("SELECT count(*), sum(cost_nanousd) FROM bill").fetchone() == (1, 1000 * 150 + 100 * 600)
    assert verify(pg).differences == []


def test_good_calls_and_spans_are_stored_whatever_comes_between_them(
    http: httpx.Client, gateway: Gateway, writer: Writer, pg: Connection
) -> None:
    now = time.time_ns()
    for body in NO_REQUESTS:
        assert http.post(CHAT, content=body).status_code == 400
        assert http.post(CHAT, json=GOOD).status_code == 200
    for content in (b"\xff\xff\xff", spans(now - YEAR_NS, now + YEAR_NS).SerializeToString()):
        http.post(TRACES, content=content, headers=PROTOBUF)
    assert http.post(TRACES, content=a_call().SerializeToString(), headers=PROTOBUF).status_code == 200
    gateway.wait_until(gateway.is_quiet, "every call has ended")
    writer.drain()
    stored = pg.execute("SELECT count(*) FROM bill WHERE cost_nanousd > 0").fetchone()
    assert stored == (len(NO_REQUESTS) + 1,)
    assert verify(pg).differences == []

"""The collector: OTLP in, acknowledged once it is journalled."""

import base64
import gzip
import json
import re
import select
import socket
import time
from pathlib import Path

import httpx2 as httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from llmobs.ingest.entries import OtlpLogs
from tests.gateway.running import Gateway

TRACES = "/v1/traces"
PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
CONTENT_LOGS = Path(__file__).parents[2] / "llmobs/ops/demo/data/otlp/otel-openai-v2-content-logs/logs.bin"
YEAR_NS = 400 * 86_400 * 10**9


def spans(*starts_ns: int) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number, start_ns in enumerate(starts_ns, 1):
        scope.spans.add(
            trace_id=bytes([7] * 16),
            span_id=number.to_bytes(8, "big"),
            name="chat",
            start_time_unix_nano=start_ns,
            end_time_unix_nano=start_ns + 10**6,
        )
    return request


@pytest.fixture
def body() -> bytes:
    return bytes(spans(time.time_ns()).SerializeToString())


def test_protobuf_is_journalled_as_received(http: httpx.Client, gateway: Gateway, body: bytes, tenant: int) -> None:
    response = http.post(TRACES, content=body, headers=PROTOBUF)
    assert (response.status_code, response.content) == (200, b"")
    entry = gateway.otlp()[0]
    assert (entry.body, entry.tenant_id, entry.content_type) == (body, tenant, "application/x-protobuf")


def test_json_is_journalled_as_received(http: httpx.Client, gateway: Gateway) -> None:
    now = time.time_ns()
    span = {"traceId": "07" * 16, "spanId": "01" * 8, "name": "chat"}
    span |= {"startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 10)}
    text = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    response = http.post(TRACES, content=text, headers=JSON)
    assert (response.status_code, response.json()) == (200, {})
    assert gateway.otlp()[0].body == text


def test_gzip_and_chunks_are_undone(http: httpx.Client, gateway: Gateway, body: bytes) -> None:
    packed = gzip.compress(body)
    chunks = (packed[i : i + 10] for i in range(0, len(packed), 10))
    response = http.post(TRACES, content=chunks, headers={**PROTOBUF, "content-encoding": "gzip"})
    assert response.status_code == 200
    assert gateway.otlp()[0].body == body


def test_a_span_that_cannot_be_is_named_and_the_others_are_kept(http: httpx.Client, gateway: Gateway) -> None:
    now = time.time_ns()
    content = spans(now, now - YEAR_NS - 10**15, now + YEAR_NS).SerializeToString()
    response = http.post(TRACES, content=content, headers=PROTOBUF)
    answer = ExportTraceServiceResponse.FromString(response.content)
    assert (response.status_code, answer.partial_success.rejected_spans) == (200, 2)
    assert len(gateway.otlp()) == 1


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"{", JSON, 400),
        (b"x", {"content-type": "text/plain"}, 415),
        (b"x", {**PROTOBUF, "content-encoding": "gzip"}, 400),
        (b"x", {**PROTOBUF, "content-encoding": "br"}, 400),
        (gzip.compress(bytes(70_000_000)), {**PROTOBUF, "content-encoding": "gzip"}, 413),
    ],
)
def test_what_does_not_parse_is_refused_and_not_journalled(
    http: httpx.Client, gateway: Gateway, content: bytes, headers: dict[str, str], status: int
) -> None:
    assert http.post(TRACES, content=content, headers=headers).status_code == status
    assert gateway.otlp() == []


def test_the_other_door_takes_the_key_as_basic_password(gateway: Gateway, secret: str, body: bytes) -> None:
    basic = base64.b64encode(f"anyone:{secret}".encode()).decode()
    response = httpx.post(
        f"{gateway.url}/api/public/otel/v1/traces",
        content=body,
        headers={**PROTOBUF, "authorization": f"Basic {basic}"},
    )
    assert response.status_code == 200
    assert len(gateway.otlp()) == 1


@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_the_other_door_takes_and_counts_logs_and_metrics_too(
    gateway: Gateway, http: httpx.Client, secret: str, signal: str
) -> None:
    name = f'dropped_total{{signal="{signal}"}}'
    before = counted(http, name)
    basic = base64.b64encode(f"anyone:{secret}".encode()).decode()
    url = f"{gateway.url}/api/public/otel/v1/{signal}"
    response = httpx.post(url, content=b"", headers={**PROTOBUF, "authorization": f"Basic {basic}"})
    assert (response.status_code, response.content) == (200, b"")
    assert counted(http, name) == before + 1
    assert httpx.post(url, content=b"", headers={**PROTOBUF, "authorization": "Basic bm9ib2R5"}).status_code == 401
    assert counted(http, name) == before + 1


def test_content_logs_are_journalled_through_the_other_door(gateway: Gateway, secret: str) -> None:
    basic = base64.b64encode(f"anyone:{secret}".encode()).decode()
    response = httpx.post(
        f"{gateway.url}/api/public/otel/v1/logs",
        content=CONTENT_LOGS.read_bytes(),
        headers={**PROTOBUF, "authorization": f"Basic {basic}"},
    )
    assert response.status_code == 200
    assert any(isinstance(entry, OtlpLogs) for entry in gateway.entries())


def test_what_is_refused_is_counted_by_its_reason(gateway: Gateway, http: httpx.Client) -> None:
    names = [f'refused_total{{reason="{reason}"}}' for reason in ("invalid_key", "invalid_request")]
    before = [counted(http, name) for name in names]
    assert httpx.post(f"{gateway.url}{TRACES}", headers={"authorization": "Bearer nobody"}).status_code == 401
    assert http.post(TRACES, content=b"{", headers=JSON).status_code == 400
    assert [counted(http, name) for name in names] == [before[0] + 1, before[1] + 1]


@pytest.mark.parametrize("authorization", ["Basic !!!", "Basic bm9ib2R5", "Bearer nobody", ""])
def test_without_a_known_key_nothing_is_taken(gateway: Gateway, body: bytes, authorization: str) -> None:
    headers = {**PROTOBUF, "authorization": authorization}
    assert httpx.post(f"{gateway.url}{TRACES}", content=body, headers=headers).status_code == 401
    assert gateway.otlp() == []


def test_logs_that_carry_content_are_journalled_as_received(http: httpx.Client, gateway: Gateway, tenant: int) -> None:
    before = counted(http, 'log_records_total{fate="kept"}')
    body = CONTENT_LOGS.read_bytes()
    packed = gzip.compress(body)
    response = http.post("/v1/logs", content=packed, headers={**PROTOBUF, "content-encoding": "gzip"})
    assert (response.status_code, response.content) == (200, b"")
    entry = next(entry for entry in gateway.entries() if isinstance(entry, OtlpLogs))
    assert (entry.body, entry.tenant_id, entry.content_type) == (body, tenant, "application/x-protobuf")
    assert counted(http, 'log_records_total{fate="kept"}') == before + 10


def test_other_logs_are_dropped_and_counted(http: httpx.Client, gateway: Gateway) -> None:
    before = counted(http, 'log_records_total{fate="dropped"}')
    record = {"traceId": "07" * 16, "spanId": "01" * 8, "body": {"stringValue": "an application's own line"}}
    request = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record, {**record, "eventName": "app.started"}]}]}]}
    response = http.post("/v1/logs", json=request)
    assert (response.status_code, response.json()) == (200, {})
    assert gateway.entries() == []
    assert counted(http, 'log_records_total{fate="dropped"}') == before + 2


@pytest.mark.parametrize(("content", "headers"), [(b"\xff\xff\xff", PROTOBUF), (b"{", JSON)])
def test_logs_that_do_not_parse_are_refused(http: httpx.Client, content: bytes, headers: dict[str, str]) -> None:
    assert http.post("/v1/logs", content=content, headers=headers).status_code == 400


@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_requests_of_which_nothing_is_kept_are_answered_and_counted(http: httpx.Client, signal: str) -> None:
    name = f'dropped_total{{signal="{signal}"}}'
    before = counted(http, name)
    assert http.post(f"/v1/{signal}", content=b"", headers=PROTOBUF).status_code == 200
    assert counted(http, name) == before + 1


def slow_sender(gateway: Gateway, key: str, part: bytes) -> socket.socket:
    """A sender that announces 32 MB, sends a part of it, and waits."""
    host, port = gateway.url.removeprefix("http://").split(":")
    sender = socket.create_connection((host, int(port)), timeout=10)
    head = f"POST {TRACES} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {32 * 2**20}\r\n\r\n"
    sender.sendall(head.encode() + part)
    return sender


def test_many_slow_bodies_together_are_bounded_and_small_ones_pass(
    gateway: Gateway, http: httpx.Client, secret: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gateway.plane is not None
    room = gateway.plane.coming
    monkeypatch.setattr(room, "most", 4 * 2**20)
    part = bytes(600_000)
    senders = [slow_sender(gateway, secret, part)]
    gateway.wait_until(lambda: room.taken == len(part), "what has come is counted, and no more")
    senders += [slow_sender(gateway, secret, part) for _ in range(5)]
    # Half of the room is one tenant's: three have their part in it, the others are told to come again.
    gateway.wait_until(lambda: len(select.select(senders, [], [], 0)[0]) == 3, "three are answered")
    said = [sender.recv(4096) for sender in select.select(senders, [], [], 0)[0]]
    assert all(answer.startswith(b"HTTP/1.1 429") and b"retry-after" in answer for answer in said)
    assert room.taken == 3 * len(part)
    assert http.post(TRACES, content=body, headers=PROTOBUF).status_code == 200
    for sender in senders:
        sender.close()
    gateway.wait_until(lambda: room.taken == 0, "who leaves gives back")


def counted(http: httpx.Client, name: str) -> float:
    found = re.search(rf"llmobs_otlp_{re.escape(name)} (.+)", http.get("/metrics").text)
    return float(found[1]) if found else 0.0

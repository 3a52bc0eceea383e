"""OTLP/gRPC (PAINS 54): the real exporter sends, and is answered once the journal has it."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx2 as httpx
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from gateway import grpc_collector, grpc_door
from gateway.collector import INLINE_BYTES
from gateway.grpc_collector import Address, RosterKeeper, serve
from gateway.snapshot import SnapshotFile
from llmobs.ingest.entries import Entry, OtlpBody, OtlpLogs
from llmobs.ingest.journal import JournalFull, JournalWriter
from llmobs.ingest.journal_reader import JournalReader
from llmobs.ingest.otlp.decode import decode
from llmobs.tenants.attribution import Attribution
from tests.gateway.running import PLATFORM_SECRET
from tests.gateway.test_collector import CONTENT_LOGS, YEAR_NS, spans
from tests.gateway.world import World
from tests.stores import Stores

KEY = b"k" * 32
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass
class Collector:
    """A running collector and what it wrote."""

    address: str
    journal: JournalWriter
    state_url: str

    def counted(self) -> dict[str, float]:
        """What its /metrics says that is not 0."""
        text = httpx.get(f"{self.state_url}/metrics").raise_for_status().text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {"".join([one.name, *one.labels.values()]): one.value for one in samples if one.value}

    def entries(self) -> list[Entry]:
        reader = JournalReader(self.journal.folder, KEY)
        return [entry for _, entry in reader.read(reader.start(), most_bytes=2**28).entries]

    def send(
        self, body: bytes, secret: str, method: str = TRACES, name: str = "authorization", **options: Any
    ) -> bytes:
        value = f"Bearer {secret}" if name == "authorization" else secret
        with grpc.insecure_channel(self.address) as channel:
            return bytes(channel.unary_unary(method)(body, timeout=20, metadata=[(name, value)], **options))


@pytest.fixture
def port() -> Iterator[int]:
    """Bound and silent, as `up` keeps it."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


@pytest.fixture
def collector(
    tmp_path: Path, port: int, world: World, secret: str, migrated: Stores, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Collector]:
    state = socket.create_server(("127.0.0.1", 0))
    state_url = f"http://127.0.0.1:{state.getsockname()[1]}"
    monkeypatch.setattr(grpc_collector, "POLL_SECONDS", 0.02)
    journal = JournalWriter(tmp_path / "journal" / "otlp-grpc-test", KEY)
    keeper = RosterKeeper(migrated.database_url, SnapshotFile(tmp_path / "snapshot", KEY))
    keeper.start()
    stop: list[Any] = []

    async def main() -> None:
        stopping = asyncio.Event()
        stop.extend((asyncio.get_running_loop(), stopping))
        await serve(Address("127.0.0.1", port, state), journal, keeper, PLATFORM_SECRET, stopping)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    address = f"127.0.0.1:{port}"
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
    until = time.monotonic() + 60
    while keeper.known is None and time.monotonic() < until:
        threading.Event().wait(0.01)
    yield Collector(address, journal, state_url)
    loop, stopping = stop
    loop.call_soon_threadsafe(stopping.set)
    thread.join(15)
    keeper.stop()
    journal.close()
    assert not thread.is_alive()


@pytest.fixture
def body() -> bytes:
    return bytes(spans(time.time_ns()).SerializeToString())


def some_spans(count: int) -> list[ReadableSpan]:
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    for number in range(count):
        provider.get_tracer("app").start_span(f"span {number}").end()
    return list(kept.get_finished_spans())


def full_at_first(journal: JournalWriter, times: int) -> Callable[[Entry], int]:
    """The journal's `append`, which finds no room so many times."""
    append, refused = journal.append, iter(range(times))

    def full(entry: Entry) -> int:
        if next(refused, None) is not None:
            raise JournalFull("the journals have reached their bound")
        return append(entry)

    return full


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_what_the_exporter_sends_is_journalled_as_it_was(
    collector: Collector, secret: str, tenant: int, compression: grpc.Compression
) -> None:
    exporter = OTLPSpanExporter(
        f"http://{collector.address}", insecure=True, headers={"authorization": f"Bearer {secret}"},
        compression=compression,
    )  # fmt: skip
    assert exporter.export(some_spans(300)) is SpanExportResult.SUCCESS
    exporter.shutdown()
    entry = collector.entries()[0]
    assert isinstance(entry, OtlpBody)
    assert (entry.tenant_id, entry.content_type) == (tenant, "application/x-protobuf")
    names = {span.name for span in decode(entry, Attribution())}
    assert names == {f"span {number}" for number in range(300)}


def test_the_key_may_be_x_api_key(collector: Collector, secret: str, body: bytes) -> None:
    assert collector.send(body, secret, name="x-api-key") == b""
    assert len(collector.entries()) == 1


def test_a_span_that_cannot_be_is_named_and_the_others_are_kept(collector: Collector, secret: str) -> None:
    now = time.time_ns()
    answer = collector.send(spans(now, now - YEAR_NS - 10**15, now + YEAR_NS).SerializeToString(), secret)
    assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 2
    assert len(collector.entries()) == 1


def refused(collector: Collector, body: bytes, secret: str, **options: Any) -> grpc.Call:
    with pytest.raises(grpc.RpcError) as failed:
        collector.send(body, secret, **options)
    return failed.value


@pytest.mark.parametrize("secret", ["nobody", ""])
def test_without_a_known_key_nothing_is_read(collector: Collector, body: bytes, secret: str) -> None:
    assert refused(collector, body, secret).code() is grpc.StatusCode.UNAUTHENTICATED
    assert collector.entries() == []


def test_a_revoked_key_is_refused_within_moments(collector: Collector, world: World, secret: str, body: bytes) -> None:
    assert collector.send(body, secret) == b""
    world.pg.execute("UPDATE tenants_key SET revoked_at = now()")
    until = time.monotonic() + 60
    is_refused = False
    while not is_refused and time.monotonic() < until:
        try:
            collector.send(body, secret)
        except grpc.RpcError as error:
            is_refused = error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert is_refused


def test_what_does_not_parse_is_not_sent_again(collector: Collector, secret: str) -> None:
    assert refused(collector, b"\xff\xff\xff", secret).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert collector.entries() == []


def test_an_unknown_method_is_said_to_be_one(collector: Collector, secret: str) -> None:
    assert refused(collector, b"", secret, method="/no.Such/Method").code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_message_that_is_too_large_is_refused_however_small_it_was_sent(collector: Collector, secret: str) -> None:
    failed = refused(collector, bytes(70_000_000), secret, compression=grpc.Compression.Gzip)
    assert failed.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert collector.entries() == []


def retry_seconds(failed: grpc.Call) -> tuple[int, int]:
    """As the specification has it, and as Python's exporter reads it."""
    told = dict(failed.trailing_metadata())
    packed = RetryInfo()
    assert Status.FromString(told["grpc-status-details-bin"]).details[0].Unpack(packed)
    return packed.retry_delay.seconds, RetryInfo.FromString(told["google.rpc.retryinfo-bin"]).retry_delay.seconds


def test_a_full_journal_says_when_to_come_again(
    collector: Collector, secret: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector.journal, "_most_bytes", 10)
    monkeypatch.setattr(collector.journal, "_bound", 10)
    monkeypatch.setattr(collector.journal, "_reports_bound", 10)
    failed = refused(collector, body, secret)
    assert failed.code() is grpc.StatusCode.UNAVAILABLE
    assert retry_seconds(failed) == (1, 1)
    assert collector.entries() == []


def test_the_exporter_sends_again_when_there_is_room(
    collector: Collector, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(grpc_door, "RETRY_AFTER_SECONDS", 0)
        full.setattr(grpc_door, "MOST_WAITING", 0)
        threading.Timer(0.2, lambda: setattr(grpc_door, "MOST_WAITING", 64)).start()
        full.setattr("opentelemetry.exporter.otlp.proto.grpc.exporter._MAX_RETRYS", 10_000)
        exporter = OTLPSpanExporter(
            f"http://{collector.address}", insecure=True, headers={"authorization": f"Bearer {secret}"}
        )
        assert exporter.export(some_spans(1)) is SpanExportResult.SUCCESS
        exporter.shutdown()
    assert len(collector.entries()) == 1


def test_the_exporter_sends_again_what_a_full_journal_did_not_take(
    collector: Collector, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_door, "RETRY_AFTER_SECONDS", 0)
    monkeypatch.setattr(collector.journal, "append", full_at_first(collector.journal, 2))
    exporter = OTLPSpanExporter(
        f"http://{collector.address}", insecure=True, headers={"authorization": f"Bearer {secret}"}
    )
    assert exporter.export(some_spans(3)) is SpanExportResult.SUCCESS
    exporter.shutdown()
    [entry] = collector.entries()
    assert isinstance(entry, OtlpBody)
    assert len(decode(entry, Attribution())) == 3


def test_too_much_at_once_says_when_to_come_again(
    collector: Collector, secret: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_door, "MOST_WAITING", 0)
    failed = refused(collector, body, secret)
    assert failed.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry_seconds(failed) == (1, 1)


def test_logs_that_carry_content_are_journalled(collector: Collector, secret: str) -> None:
    body = CONTENT_LOGS.read_bytes()
    assert collector.send(body, secret, method=LOGS) == b""
    assert collector.counted() == {"llmobs_otlp_log_records_totalkept": 10}
    entry = collector.entries()[0]
    assert isinstance(entry, OtlpLogs)
    assert entry.body == body


def test_other_logs_are_answered_dropped_and_counted(collector: Collector, secret: str) -> None:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.add(body=AnyValue(string_value="an application's own line"))
    records.add(event_name="app.started")
    assert collector.send(request.SerializeToString(), secret, method=LOGS) == b""
    assert collector.entries() == []
    assert collector.counted() == {"llmobs_otlp_dropped_totallogs": 1, "llmobs_otlp_log_records_totaldropped": 2}


def test_metrics_are_answered_dropped_and_counted(collector: Collector, secret: str) -> None:
    assert [collector.send(b"", secret, method=METRICS) for _ in range(2)] == [b"", b""]
    assert collector.entries() == []
    assert collector.counted() == {"llmobs_otlp_dropped_totalmetrics": 2}


def test_spans_and_refusals_are_counted(
    collector: Collector, secret: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    collector.send(spans(now, now, now - YEAR_NS - 10**15).SerializeToString(), secret)
    refused(collector, body, "nobody")
    refused(collector, b"\xff\xff\xff", secret)
    monkeypatch.setattr(collector.journal, "append", full_at_first(collector.journal, 1))
    refused(collector, body, secret)
    assert collector.counted() == {
        "llmobs_otlp_spans_total": 2,
        "llmobs_otlp_spans_rejected_total": 1,
        "llmobs_otlp_refused_totalinvalid_key": 1,
        "llmobs_otlp_refused_totalinvalid_request": 1,
        "llmobs_otlp_refused_totaljournal_full": 1,
        "llmobs_not_journalled_totalotlp": 1,
    }


def test_large_messages_are_counted_too(collector: Collector, secret: str) -> None:
    now = time.time_ns()
    body = spans(*[now] * 5_000).SerializeToString()
    assert len(body) > INLINE_BYTES
    assert collector.send(body, secret) == b""
    assert collector.counted() == {"llmobs_otlp_spans_total": 5_000}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/healthz", 200), ("GET", "/readyz", 200), ("HEAD", "/metrics", 200), ("GET", "/", 404),
     ("POST", "/metrics", 405)],
)  # fmt: skip
def test_its_state_is_told_over_http(collector: Collector, method: str, path: str, status: int) -> None:
    assert httpx.request(method, f"{collector.state_url}{path}").status_code == status

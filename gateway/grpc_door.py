"""The collector over OTLP/gRPC: the same door as over HTTP, in a process of its own.

1. The key, from the metadata `authorization` or `x-api-key`: before any byte of the message is read or unpacked.
2. The message, bounded (gRPC itself undoes gzip). 3. `ingest.otlp.check`: what cannot be is told in `partial_success`.
4. Append; OK.

Fails closed and says when to come again: UNAVAILABLE or RESOURCE_EXHAUSTED with RetryInfo, which by OTLP's
specification means "send again". Requests and answers are bytes here: nothing is decoded twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from gateway.body import SLOW_BODY_SECONDS
from gateway.collector import INLINE_BYTES, MOST_BODY_BYTES, password_or_secret
from gateway.counts import OtlpCounts
from gateway.errors import RETRY_AFTER_SECONDS, Refusal
from gateway.stages.authenticate import Knows, holder
from llmobs.ingest.entries import OtlpBody, OtlpLogs
from llmobs.ingest.journal import JournalError, JournalWriter
from llmobs.ingest.otlp.check import Checked, OtlpError, check
from llmobs.ingest.otlp.logs import CheckedLogs, check_logs
from llmobs.ingest.otlp.wire import PROTOBUF
from llmobs.tenants.roster import KeyInfo, TenantInfo

MOST_READ_AT_ONCE = 4  # messages in memory, each at most MOST_BODY_BYTES
MOST_WAITING = 64  # requests at once; more are told to come again
T = TypeVar("T")
_SERVICES = "/opentelemetry.proto.collector."


@dataclass(frozen=True, slots=True)
class Sent:
    """One message and whose it is."""

    body: bytes
    tenant: TenantInfo
    key: KeyInfo
    now_ns: int


class GrpcDoor(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc brings no types
    """Takes in traces, and of logs what carries content; answers the rest and metrics, dropped and counted."""

    def __init__(
        self, journal: JournalWriter, known: Callable[[], Knows | None], platform_secret: str, now_ns: Callable[[], int]
    ) -> None:
        self._journal = journal
        self._known = known
        self._platform_secret = platform_secret
        self._now_ns = now_ns
        self._waiting = 0
        self._reading = asyncio.Semaphore(MOST_READ_AT_ONCE)
        self.counts = OtlpCounts()  # changed by the loop's thread alone
        self._methods: dict[str, Callable[[Sent], Awaitable[bytes]]] = {
            f"{_SERVICES}trace.v1.TraceService/Export": self._traces,
            f"{_SERVICES}logs.v1.LogsService/Export": self._logs,
            f"{_SERVICES}metrics.v1.MetricsService/Export": self._metrics,
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        take = self._methods.get(handler_call_details.method)
        if take is None:
            return None

        async def answer(_: object, context: grpc.aio.ServicerContext) -> bytes:
            return await self._answer(context, take)

        # Its one message is read as from a stream, so that a request without a key is refused unread.
        return grpc.stream_unary_rpc_method_handler(answer)

    async def _answer(self, context: grpc.aio.ServicerContext, take: Callable[[Sent], Awaitable[bytes]]) -> bytes:
        self._waiting += 1
        try:
            if self._waiting > MOST_WAITING:
                self.counts.otlp_refused["overloaded"] += 1
                await _come_again(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "too much is under way; send again")
            return await self._taken(context, take)
        except Refusal as refusal:
            self.counts.otlp_refused[refusal.reason] += 1
            if refusal.reason == "not_ready":
                await _come_again(context, grpc.StatusCode.UNAVAILABLE, refusal.message)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, refusal.message)
        except OtlpError as error:
            self.counts.otlp_refused["invalid_request"] += 1
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except JournalError as error:
            self.counts.not_journalled["otlp"] += 1
            self.counts.otlp_refused["journal_full"] += 1
            await _come_again(context, grpc.StatusCode.UNAVAILABLE, str(error))
        finally:
            self._waiting -= 1
        raise AssertionError("unreachable: abort raises")

    async def _taken(self, context: grpc.aio.ServicerContext, take: Callable[[Sent], Awaitable[bytes]]) -> bytes:
        now_ns = self._now_ns()
        tenant, key = self._holder(context.invocation_metadata() or (), now_ns)
        async with self._reading:
            try:
                async with asyncio.timeout(SLOW_BODY_SECONDS):
                    body = await context.read()
            except TimeoutError:
                raise OtlpError(f"the message did not come within {SLOW_BODY_SECONDS:g} s") from None
            if not isinstance(body, bytes):
                raise OtlpError("the request has no message")
            return await take(Sent(body, tenant, key, now_ns))

    def _holder(self, metadata: Sequence[tuple[str, str | bytes]], now_ns: int) -> tuple[TenantInfo, KeyInfo]:
        known = self._known()
        if known is None:
            raise Refusal("not_ready", "the collector has no configuration yet; try again in a moment")
        headers = {name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in metadata}
        return holder(known, password_or_secret(headers), self._platform_secret, now_ns)

    async def _traces(self, sent: Sent) -> bytes:
        checked = await _heavy(self._journalled_traces, sent)
        self.counts.spans_received += checked.accepted_spans
        self.counts.spans_rejected += checked.rejected_spans
        return checked.response

    def _journalled_traces(self, sent: Sent) -> Checked:
        checked = check(sent.body, PROTOBUF, sent.now_ns, sent.tenant.retention_days)
        if checked.accepted_spans:
            self._journal.append(OtlpBody(sent.tenant.id, sent.key.id, sent.now_ns, PROTOBUF, sent.body))
        return checked

    async def _logs(self, sent: Sent) -> bytes:
        checked = await _heavy(self._journalled_logs, sent)
        if not checked.content_count:
            self.counts.dropped["logs"] += 1
        self.counts.log_records["kept"] += checked.content_count
        self.counts.log_records["dropped"] += checked.record_count - checked.content_count
        return checked.response

    def _journalled_logs(self, sent: Sent) -> CheckedLogs:
        checked = check_logs(sent.body, PROTOBUF)
        if checked.content_count:
            self._journal.append(OtlpLogs(sent.tenant.id, sent.key.id, sent.now_ns, PROTOBUF, sent.body))
        return checked

    async def _metrics(self, sent: Sent) -> bytes:
        self.counts.dropped["metrics"] += 1
        return b""


def server(door: GrpcDoor) -> grpc.aio.Server:
    """A server with this door, not started and without an address."""
    return grpc.aio.server(
        handlers=[door],
        options=[
            ("grpc.max_receive_message_length", MOST_BODY_BYTES),
            ("grpc.max_concurrent_streams", 2 * MOST_WAITING),  # of one connection
            ("grpc.so_reuseport", 1),  # `up` keeps the port for this process, bound and silent
        ],
    )


async def _heavy(work: Callable[[Sent], T], sent: Sent) -> T:
    """On a thread if it is large, so that others go on."""
    return work(sent) if len(sent.body) < INLINE_BYTES else await asyncio.to_thread(work, sent)


async def _come_again(context: grpc.aio.ServicerContext, code: grpc.StatusCode, message: str) -> NoReturn:
    """Abort, with when to send again: as the specification has it, and as Python's exporter reads it."""
    retry = RetryInfo(retry_delay=Duration(seconds=RETRY_AFTER_SECONDS))
    packed = AnyMessage()
    packed.Pack(retry)
    status = Status(code=code.value[0], message=message, details=[packed])
    context.set_trailing_metadata(
        (
            ("grpc-status-details-bin", status.SerializeToString()),
            ("google.rpc.retryinfo-bin", retry.SerializeToString()),
        )
    )
    await context.abort(code, message)
    raise AssertionError("unreachable: abort raises")

"""The collector: OTLP over HTTP, answered once the journal has it.

1. The key: Bearer, x-api-key, or Basic with the key as password. 2. The body: bounded before and after
decompression. 3. `ingest.otlp.check`, `.logs`: does it parse, which spans cannot be (`partial_success`), which records
carry content. 4. Append; 200.

Fails closed and says when to come again: what was not appended is not acknowledged.
"""

import asyncio
import base64
import binascii
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from gateway.body import read_body
from gateway.door import Door
from gateway.errors import FACES, Headers, Refusal
from gateway.plane import Plane
from gateway.room import Held, TooMuch
from gateway.stages.authenticate import holder, secret_of
from llmobs.ingest.entries import OtlpBody, OtlpLogs
from llmobs.ingest.journal import JournalError
from llmobs.ingest.otlp.check import OtlpError, UnknownContentType, check
from llmobs.ingest.otlp.logs import check_logs
from llmobs.tenants.roster import KeyInfo, TenantInfo

MOST_BODY_BYTES = 32 * 1024 * 1024  # as sent
MOST_PLAIN_BYTES = 64 * 1024 * 1024  # decompressed: more is refused before it is in memory
INLINE_BYTES = 256 * 1024  # larger ones are checked on a thread, so that calls go on
MOST_BYTES_AT_ONCE = 128 * 1024 * 1024  # of all bodies being checked


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sent:
    """A request's body, decompressed, and whose it is."""

    body: bytes
    kind: str  # its content type
    tenant: TenantInfo
    key: KeyInfo
    now_ns: int


Take = Callable[[Sent], Awaitable[tuple[bytes, str]]]  # the answer, and its content type


class Collector:
    """Takes in traces, and of logs what carries content; answers the rest and metrics with 200, dropped and counted."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._bytes_under_way = 0

    async def traces(self, door: Door, now_ns: int) -> None:
        """POST /v1/traces."""
        await self._take_in(door, now_ns, self._traces)

    async def logs(self, door: Door, now_ns: int) -> None:
        """POST /v1/logs: what carries prompts and answers is kept, until it meets its spans."""
        await self._take_in(door, now_ns, self._logs)

    async def _take_in(self, door: Door, now_ns: int, take: Take) -> None:
        kind = door.headers.get(b"content-type", b"").decode("latin-1")
        try:
            tenant, key = self._holder(door.headers, now_ns)
            answer, kind = await take(Sent(await self._body(door, tenant.id), kind, tenant, key, now_ns))
        except Refusal as refusal:
            status = FACES[refusal.reason].openai[0]
            self._fail(door, status, refusal.message, refusal.reason, FACES[refusal.reason].headers)
        except UnknownContentType as error:
            self._fail(door, 415, str(error), "invalid_request")
        except OtlpError as error:
            self._fail(door, 400, str(error), "invalid_request")
        except JournalError as error:
            self._plane.counts.not_journalled["otlp"] += 1
            self._fail(door, 503, str(error), "journal_full", FACES["journal_full"].headers)
        except TooMuch:
            self._overloaded(door)
        else:
            _respond(door, 200, answer, [(b"content-type", kind.encode())])

    async def _traces(self, sent: Sent) -> tuple[bytes, str]:
        checked = await self._heavy(
            len(sent.body), check, sent.body, sent.kind, sent.now_ns, sent.tenant.retention_days
        )
        if checked.accepted_spans:
            entry = OtlpBody(sent.tenant.id, sent.key.id, sent.now_ns, checked.content_type, sent.body)
            self._plane.reports.append(entry)
        self._plane.counts.spans_received += checked.accepted_spans
        self._plane.counts.spans_rejected += checked.rejected_spans
        return checked.response, checked.content_type

    async def _logs(self, sent: Sent) -> tuple[bytes, str]:
        checked = await self._heavy(len(sent.body), check_logs, sent.body, sent.kind)
        if checked.content_count:
            entry = OtlpLogs(sent.tenant.id, sent.key.id, sent.now_ns, checked.content_type, sent.body)
            self._plane.reports.append(entry)
        else:
            self._plane.counts.dropped["logs"] += 1
        self._plane.counts.log_records["kept"] += checked.content_count
        self._plane.counts.log_records["dropped"] += checked.record_count - checked.content_count
        return checked.response, checked.content_type

    async def drop(self, signal: str, door: Door, now_ns: int) -> None:
        """POST /v1/metrics: exporters send all three, and must not repeat what we do not keep."""
        try:
            tenant, _ = self._holder(door.headers, now_ns)
            await read_body(door, MOST_BODY_BYTES, Held(self._plane.coming, tenant.id))
        except Refusal as refusal:
            self._fail(door, FACES[refusal.reason].openai[0], refusal.message, refusal.reason)
            return
        except TooMuch:
            self._overloaded(door)
            return
        self._plane.counts.dropped[signal] += 1
        is_json = b"json" in door.headers.get(b"content-type", b"")
        kind = b"application/json" if is_json else b"application/x-protobuf"
        _respond(door, 200, b"{}" if is_json else b"", [(b"content-type", kind)])

    def _holder(self, headers: dict[bytes, bytes], now_ns: int) -> tuple[TenantInfo, KeyInfo]:
        snapshot = self._plane.snapshot
        if snapshot is None:
            raise Refusal("not_ready", "the gateway has no configuration yet")
        return holder(snapshot, password_or_secret(headers), self._plane.platform_secret, now_ns)

    async def _body(self, door: Door, tenant_id: int) -> bytes:
        if self._bytes_under_way > MOST_BYTES_AT_ONCE:
            raise TooMuch
        body = await read_body(door, MOST_BODY_BYTES, Held(self._plane.coming, tenant_id))
        encoding = door.headers.get(b"content-encoding", b"identity").lower()
        if encoding in (b"identity", b""):
            return body
        if encoding not in (b"gzip", b"deflate"):
            raise OtlpError(f"content-encoding {encoding.decode('latin-1')[:20]!r} is not gzip, deflate or identity")
        return await self._plain(body)

    async def _plain(self, body: bytes) -> bytes:
        """Decompressed: a little here, and what turns out to be much on a thread, however small it was sent."""
        inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        plain = _inflated(inflate, body, INLINE_BYTES)
        if not inflate.eof:
            most = MOST_PLAIN_BYTES - len(plain)
            plain += await self._heavy(max(len(body), INLINE_BYTES), _inflated, inflate, inflate.unconsumed_tail, most)
        if inflate.unconsumed_tail:
            raise Refusal("too_large", f"the body is larger than {MOST_PLAIN_BYTES // 2**20} MB when decompressed")
        if not inflate.eof:
            raise OtlpError("the compressed body ends before its end")
        return plain

    def _fail(self, door: Door, status: int, message: str, reason: str, headers: Headers | None = None) -> None:
        """As OTLP wants it: a body that says why, and retry-after where it may be sent again."""
        self._plane.counts.otlp_refused[reason] += 1
        body = msgspec.json.encode({"code": status, "message": message})
        own: Headers = [(b"content-type", b"application/json"), (b"x-llmobs-reason", reason.encode()), *(headers or [])]
        _respond(door, status, body, own)

    def _overloaded(self, door: Door) -> None:
        self._fail(door, 429, "too much is under way; send again", "overloaded", FACES["journal_full"].headers)

    async def _heavy(self, size: int, work: Callable[..., T], *args: object) -> T:
        if size < INLINE_BYTES:
            return work(*args)
        self._bytes_under_way += size
        try:
            return await asyncio.get_running_loop().run_in_executor(None, work, *args)
        finally:
            self._bytes_under_way -= size


def _inflated(inflate: "zlib._Decompress", body: bytes, most_bytes: int) -> bytes:
    try:
        return inflate.decompress(body, most_bytes)
    except zlib.error:
        raise OtlpError("the body is not what its content-encoding says") from None


def password_or_secret(headers: dict[bytes, bytes]) -> str:
    """The secret that a request of OTLP carries, as a key or as the password of Basic. Raises Refusal."""
    given = headers.get(b"authorization", b"")
    return _basic_password(given[6:]) if given[:6].lower() == b"basic " else secret_of(headers)


def _basic_password(encoded: bytes) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("latin-1").partition(":")[2]
    except (binascii.Error, ValueError):
        raise Refusal("invalid_key", "the Authorization header is not Basic with the key as password") from None


def _respond(door: Door, status: int, body: bytes, headers: Headers) -> None:
    door.answer(status, [*headers, (b"content-length", b"%d" % len(body))], body)

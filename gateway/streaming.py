"""A stream: bytes flow through as whole events, only what carries usage is parsed, and its last bytes wait.

1. Wait for the first whole event; until then an error can still be a whole response.
2. Pass on block by block. What a block's end cuts in two waits for its rest. Back-pressure goes both ways: a slow
   client stops our reading, a slow provider is waited for.
3. The block with the last event ([DONE], message_stop) is kept back: `respond` sends it once End is journalled.
4. When the client has gone, read on for a bounded time, for the usage that the provider bills.
5. At the end read the usage from the first and the last blocks. Without it: a conservative count of what was seen,
   never below the truth, marked estimated.
"""

import asyncio
import time
from collections import deque

from gateway.call import Answer, Attempt, Call
from gateway.connection import Connection, Cut, TimedOut, UpstreamError
from gateway.dialects.translation import StreamTranslation
from gateway.errors import ProviderFailed, ProviderGarbage, error_event
from gateway.headers import own_headers, passed_back
from gateway.patience import BETWEEN_CHUNKS_SECONDS, READ_ON_SECONDS, STREAM_SECONDS
from gateway.recorder import KEPT_BYTES
from gateway.whole import estimate, finish
from llmobs.core import semconv

HEAD_BLOCKS = 8  # what a stream says at its beginning comes after a ping or two
TAIL_BLOCKS = 64  # usage comes in the last few events
MOST_EVENT_BYTES = 1024 * 1024  # a longer one is passed on in parts
# Written by a provider after we stopped reading, before it noticed: a second's worth of a fast model.
UNREAD_TOKENS = 1_000
_SSE = b"text/event-stream"
_EVENT_BEGINS = (b"data", b"event", b":", b"id", b"retry")  # fields of the format, and comments


async def opened(call: Call, attempt: Attempt, connection: Connection, first_byte_deadline: float) -> "Flow | None":
    """The stream once its first event is there; None: a whole answer came instead, and outcome and answer are filled.

    Raises UpstreamError, AttemptFailed: nothing was sent to the client.
    """
    await connection.head(first_byte_deadline)
    if connection.status != 200 or not _is_event_stream(connection):
        finish(call, attempt, connection.status, connection.headers, await connection.whole(first_byte_deadline))
        return None
    if any(name == b"content-encoding" and value.lower() != b"identity" for name, value in connection.headers):
        raise ProviderGarbage("the provider compressed its stream, unasked")
    attempt.outcome.http_status = connection.status
    flow = Flow(call, attempt, connection)
    await flow.open(first_byte_deadline)
    return flow


def _is_event_stream(connection: Connection) -> bool:
    return any(name == b"content-type" and value.lower().startswith(_SSE) for name, value in connection.headers)


def _both_ends(blocks: list[bytes]) -> list[bytes]:
    if len(blocks) <= HEAD_BLOCKS + TAIL_BLOCKS:
        return blocks
    return blocks[:HEAD_BLOCKS] + blocks[-TAIL_BLOCKS:]


class Flow:
    """One stream under way."""

    __slots__ = (
        "attempt", "call", "connection", "first", "gone", "guard", "has_ended", "has_started", "kept", "kept_bytes",
        "last", "partial", "tail", "translated",
    )  # fmt: skip

    def __init__(self, call: Call, attempt: Attempt, connection: Connection) -> None:
        self.call = call
        self.attempt = attempt
        self.connection = connection
        self.guard = call.output_guard
        self.translated: StreamTranslation | None = None
        if attempt.translation is not None and call.asked is not None:
            self.translated = attempt.translation.stream(call.asked)
        self.kept: list[bytes] = []  # the provider's own bytes
        self.kept_bytes = 0
        self.tail: deque[bytes] = deque(maxlen=TAIL_BLOCKS)
        self.partial = b""
        self.first = b""  # the first events, until they are passed on
        self.last = b""  # kept back
        self.has_started = False
        self.has_ended = False  # by its last event
        self.gone: asyncio.Future[dict[str, object]] | None = None

    async def open(self, deadline: float) -> None:
        """Wait for the first event. Raises UpstreamError, ProviderFailed where it says an error."""
        while not self.first:
            data = await self.connection.chunk(deadline)
            if not data:
                raise self._ended_early()
            self.first = self._whole_events(data)
        if not self.first[:8].lstrip(b"\xef\xbb\xbf\r\n").startswith(_EVENT_BEGINS):
            raise ProviderGarbage("the provider's stream holds no events")
        if b'"error"' in self.first:
            began = self.attempt.speaks.streamed([self.first])
            if began.error_type:
                self.attempt.outcome.error_type = began.error_type
                name = self.attempt.candidate.provider.name
                has_worked = began.usage is not None or bool(began.response_id)
                raise ProviderFailed(f"{name} began its stream with an error", may_be_billed=has_worked)

    def _ended_early(self) -> Cut | ProviderGarbage:
        """It closed before a whole event: cut off, or never a stream of events."""
        begun = self.partial.lstrip(b"\xef\xbb\xbf\r\n")
        if begun and not begun.startswith(_EVENT_BEGINS):
            return ProviderGarbage("the provider's stream holds no events")
        return Cut("the provider's stream ended before its first event" if begun else "the provider's stream was empty")

    async def run(self) -> None:
        """Pass it on to its last bytes; fills outcome and answer."""
        try:
            async with asyncio.timeout(STREAM_SECONDS):
                await self._flow()
            self._end(None)
        except UpstreamError as error:
            self._end(error)
        except TimeoutError:
            self._end(TimedOut(f"the stream took longer than {STREAM_SECONDS:g} s"))
        except BaseException:
            if self.attempt.outcome.usage is None:
                self._estimate()
            raise
        finally:
            if self.gone is not None:
                self.gone.cancel()
            self.connection.done()

    async def _flow(self) -> None:
        call, connection, speaks = self.call, self.connection, self.attempt.speaks
        clock = asyncio.get_running_loop().time
        is_plain = self.translated is None and self.guard is None
        hides_usage = self.translated is None and call.asked is not None and not call.asked.wants_usage
        block, self.first = self.first, b""
        deadline = clock() + BETWEEN_CHUNKS_SECONDS
        while True:
            if block:
                self._keep(block)
                is_last = speaks.is_last(block)
                if hides_usage:
                    block = speaks.without_usage(block)
                if not is_plain:
                    block = self._rewritten(block, is_last)
                if is_last:
                    self.last = block
                    self.has_ended = connection.is_ending = True
                    return
                if block and not call.is_client_gone:
                    await self._pass_on(block)
                deadline = self._next_deadline(clock(), deadline)
            data = await connection.chunk(deadline)
            if data:
                block = self._whole_events(data)
                continue
            self.last, self.partial = self.partial, b""
            if self.last:
                self._keep(self.last)
                if hides_usage:
                    self.last = speaks.without_usage(self.last)
            if not is_plain:
                self.last = self._rewritten(self.last, True)
            return

    def _rewritten(self, block: bytes, is_last: bool) -> bytes:
        """In the caller's format, and past the output's guard."""
        if self.translated is not None:
            block = self.translated.feed(block)
            if is_last:
                block += self.translated.end()
        if self.guard is not None:
            block = self.guard.feed(block)
            if is_last:
                block += self.guard.end()
        return block

    def _next_deadline(self, now: float, deadline: float) -> float:
        call = self.call
        if not call.is_client_gone and self.gone is not None and self.gone.done():
            call.is_client_gone = True
            return now + READ_ON_SECONDS
        return deadline if call.is_client_gone else now + BETWEEN_CHUNKS_SECONDS

    def _whole_events(self, data: bytes) -> bytes:
        """The whole events of what has come; the rest waits."""
        if self.partial:
            data = self.partial + data
            self.partial = b""
        if data.endswith((b"\n\n", b"\r\n\r\n")):
            return data
        end = max(data.rfind(b"\n\n") + 2, data.rfind(b"\r\n\r\n") + 4)
        if end < 4:
            end = 0 if len(data) < MOST_EVENT_BYTES else len(data)
        self.partial = data[end:]
        return data[:end]

    def _keep(self, block: bytes) -> None:
        if self.kept_bytes < KEPT_BYTES:
            self.kept.append(block)
        else:
            self.tail.append(block)
        if not self.kept_bytes:
            self.attempt.outcome.ttft_ns = time.monotonic_ns() - self.attempt.started
        self.kept_bytes += len(block)

    async def _pass_on(self, block: bytes) -> None:
        call = self.call
        if not self.has_started:
            self._start()
        door = call.door
        if door.is_stalled:
            await door.drained()
        door.chunk(block)

    def _start(self) -> None:
        call = self.call
        self.has_started = True
        headers = passed_back(self.connection.headers) + own_headers(call)
        headers.append((b"cache-control", b"no-cache"))
        self.gone = asyncio.ensure_future(call.door.receive())
        call.door.start(200, headers)

    # ------------------------------------------------------------ the end

    def _end(self, error: UpstreamError | None) -> None:
        call, outcome = self.call, self.attempt.outcome
        if self.gone is not None and self.gone.done():
            call.is_client_gone = True
        blocks = self.kept + list(self.tail)
        answered = self.attempt.speaks.streamed(_both_ends(blocks))
        outcome.response_id, outcome.response_model = answered.response_id, answered.response_model
        outcome.finish_reasons, outcome.error_type = answered.finish_reasons, answered.error_type
        outcome.response_body = b"".join(self.kept)
        outcome.is_truncated = self.kept_bytes > len(outcome.response_body)
        outcome.usage, outcome.stated_nanousd = answered.usage, answered.stated_nanousd
        if answered.usage is None:
            self._estimate()
        if self.guard is not None:
            self.attempt.findings = self.guard.findings
            if self.guard.kept is not None:
                outcome.response_body = self.guard.kept
        if error is None and not (self.has_ended or answered.finish_reasons or answered.error_type):
            error = Cut("it ended before its end")  # a body without a length: that its connection closed says nothing
        outcome.status = self._status(error)
        self._answer(error)

    def _status(self, error: UpstreamError | None) -> str:
        outcome = self.attempt.outcome
        if self.guard is not None and self.guard.is_blocked:  # the client may have left because of it
            outcome.error_type = self.guard.reason
            return semconv.FAILED
        if self.call.is_client_gone:
            outcome.error_type = outcome.error_type or "client_gone"
            return semconv.CUT_OFF
        if error is not None:
            outcome.error_type = outcome.error_type or "stream_cut"
            return semconv.TIMED_OUT if isinstance(error, TimedOut) else semconv.CUT_OFF
        return semconv.FAILED if outcome.error_type else semconv.OK

    def _estimate(self) -> None:
        attempt, outcome = self.attempt, self.attempt.outcome
        kept = b"".join(self.kept)
        shown = attempt.speaks.shown_bytes(kept) + self.kept_bytes - len(kept) + UNREAD_TOKENS
        outcome.usage = estimate(self.call, attempt, shown)
        outcome.is_estimated = True

    def _answer(self, error: UpstreamError | None) -> None:
        call = self.call
        last = self.last
        if error is not None:
            reason = "provider_timeout" if isinstance(error, TimedOut) else "provider_unavailable"
            last += error_event(reason, f"the stream broke off: {error}", call.dialect.name)
        # A stream so short that its first block is its last has sent no headers yet.
        status = 0 if self.has_started else 200
        headers = [] if self.has_started else passed_back(self.connection.headers)
        self.attempt.answer = Answer(status, headers, last, is_stream=True)

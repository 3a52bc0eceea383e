"""Calls without their own span: their gateway died after their first attempt was over, before it told of the call.

1. A call goes on past its first attempt: that one's End names the call's span, or a further Begin names both.
2. Its own span (`Called`) comes with its end. Until then its first Begin keeps the journal's low-water mark, so that a
   writer that starts anew knows the call still.
3. An owner that is dead will not tell: what is left gets a span that says so, over its attempts.
"""

from collections.abc import Iterable, Mapping

import msgspec

from llmobs.core import semconv
from llmobs.core.clock import NS_PER_SECOND
from llmobs.ingest.entries import Begin, Called, End

# A disk that was full may have lost a living gateway's Called: no call lasts as long (its patience is an hour at most).
LONGEST_CALL_NS = 2 * 3600 * NS_PER_SECOND
MESSAGE = "The gateway died while this call was running."

Open = Mapping[bytes, tuple[int, Begin]]  # attempts without their End, with their positions


class _Call(msgspec.Struct, gc=False):
    position: int  # of the first Begin
    first: Begin
    until_ns: int
    ended: int = 0
    failed: int = 0


class Untold:
    """Those of one journal that wait for their own span."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[bytes, _Call] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def low_water(self) -> int:
        """The oldest Begin that one of them needs. Only where there is any."""
        return min(call.position for call in self._calls.values())

    def begun(self, begin: Begin, attempts: Open) -> None:
        """A further attempt of a call has begun, beside or after its first."""
        call_id = begin.parent_span_id
        if call_id is None:
            return
        if call_id not in self._calls and begin.first in attempts:  # a hedge: the first one runs still
            position, first = attempts[begin.first]
            self._calls[call_id] = _Call(position, first, first.start_ns)
        if (call := self._calls.get(call_id)) is not None:
            call.until_ns = max(call.until_ns, begin.start_ns)

    def ended(self, position: int, begin: Begin, end: End) -> None:
        """An attempt has ended that does not tell its call; `position` is its Begin's."""
        if end.call_span_id is None:
            return
        call = self._calls.get(end.call_span_id)
        if call is None:
            if begin.number != 1:
                return
            call = self._calls[end.call_span_id] = _Call(position, begin, begin.start_ns)
        call.ended += 1
        call.failed += end.status in semconv.ERROR_STATUSES
        call.until_ns = max(call.until_ns, begin.start_ns + end.duration_ns)

    def told(self, called: Called) -> None:
        """A call's own span has come."""
        self._calls.pop(called.span_id, None)

    def forget(self, now_ns: int) -> None:
        """Whatever is older than any call."""
        for call_id in [i for i, call in self._calls.items() if call.first.start_ns < now_ns - LONGEST_CALL_NS]:
            del self._calls[call_id]

    def take(self, attempts: Open) -> tuple[list[tuple[int, Called]], dict[bytes, bytes]]:
        """The owner is dead: the spans of all that wait, with their positions; and of first attempts that ran still
        beside a hedge, whose call's span is their parent.
        """
        told, parents = [], {}
        for call_id, call in self._calls.items():
            running = [begin for _, begin in attempts.values() if begin.number > 1 and begin.parent_span_id == call_id]
            if call.first.attempt in attempts:
                parents[call.first.attempt] = call_id
            cut = len(running) + (call.first.attempt in attempts)
            call.ended, call.failed = call.ended + cut, call.failed + cut
            told.append((call.position, _called(call_id, call)))
        self._calls.clear()
        return told, parents


def _called(call_id: bytes, call: _Call) -> Called:
    first = call.first
    return Called(
        span_id=call_id,
        trace_id=first.trace_id,
        parent_span_id=first.parent_span_id,
        tenant_id=first.tenant_id,
        attribution=first.attribution,
        start_ns=first.start_ns,
        duration_ns=call.until_ns - first.start_ns,
        ttft_ns=None,
        name=f"{first.operation_name} {first.request_model}",
        operation_name=first.operation_name,
        provider_name="",
        request_model=first.request_model,
        model="",
        is_stream=first.is_stream,
        status=semconv.ABANDONED,
        error_type="abandoned",
        message=MESSAGE,
        attempts=call.ended,
        degraded="",
        cache="",
        saved_input_tokens=0,
        saved_output_tokens=0,
        saved_nanousd=None,
        response_id="",
        finish_reasons=[],
        request_body=b"",
        response_body=b"",
        is_truncated=False,
        prompt_version=first.prompt_version,
        findings=[],
        failed_attempts=call.failed,
    )


def under_its_call(found: Iterable[tuple[int, Begin]], parents: Mapping[bytes, bytes]) -> list[tuple[int, Begin]]:
    """Begins with the parents that their calls' spans are."""
    return [
        (position, msgspec.structs.replace(begin, parent_span_id=parents.get(begin.attempt, begin.parent_span_id)))
        for position, begin in found
    ]

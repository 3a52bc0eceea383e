"""What the journal is told of a call: Begin before the upstream request, End after it, Refused where none was sent.

Recording never breaks a call that the provider has answered: an End that the disk does not take is tried again every
second (bounded), and the attempt is billed at its hold if the process dies first. Begin fails closed: without it the
call is not sent.
"""

import time
from collections import deque

from gateway.call import Call
from gateway.counts import Counts
from gateway.dialects.dialect import text
from llmobs.core import semconv
from llmobs.ingest.entries import Begin, End, Hold, Refused
from llmobs.ingest.journal import JournalBroken, JournalError, JournalFull, JournalWriter

KEPT_BYTES = 1024 * 1024  # of each side's content
MOST_LATE_ENDS = 200  # up to 2 MB each


class Recorder:
    """Writes the entries of this process's journal."""

    def __init__(self, journal: JournalWriter, counts: Counts) -> None:
        self.journal = journal
        self._counts = counts
        self._late: deque[End] = deque(maxlen=MOST_LATE_ENDS)
        self.is_writable = True

    def begin(self, call: Call) -> None:
        """Say that the attempt is about to be sent. Raises JournalError: then it must not be."""
        assert call.tenant is not None
        assert call.asked is not None
        assert call.candidate is not None
        provider = call.candidate.provider
        self._append(
            Begin(
                attempt=call.span_id,
                trace_id=call.trace_id,
                parent_span_id=call.parent_span_id,
                tenant_id=call.tenant.id,
                attribution=call.attribution,
                start_ns=call.started_ns,
                name=f"{semconv.CHAT} {call.candidate.model}",
                operation_name=semconv.CHAT,
                provider_name=provider.name,
                priced_as=provider.priced_as,
                request_model=call.asked.model,
                model=call.candidate.model,
                dialect=call.dialect.name,
                is_stream=call.asked.is_stream,
                held_nanousd=call.held_nanousd,
                held_usage=call.held_usage,
                price_version=call.price.version if call.price is not None else "",
                holds=_holds(call),
                client=text(call.headers.get(b"user-agent", b"").decode("latin-1")),
            )
        )

    def end(self, call: Call) -> None:
        """Say how the attempt ended."""
        assert call.tenant is not None
        outcome = call.outcome
        keeps = call.tenant.content != "none"
        entry = End(
            attempt=call.span_id,
            duration_ns=time.monotonic_ns() - call.started,
            ttft_ns=outcome.ttft_ns,
            status=outcome.status,
            error_type=outcome.error_type,
            http_status=outcome.http_status,
            response_model=outcome.response_model,
            response_id=outcome.response_id,
            finish_reasons=list(outcome.finish_reasons),
            usage=outcome.usage,
            is_estimated=outcome.is_estimated,
            cost_nanousd=outcome.cost_nanousd,
            price_version=call.price.version if call.price is not None else "",
            request_body=call.body[:KEPT_BYTES] if keeps else b"",
            response_body=outcome.response_body[:KEPT_BYTES] if keeps else b"",
            is_truncated=keeps
            and (outcome.is_truncated or len(call.body) > KEPT_BYTES or len(outcome.response_body) > KEPT_BYTES),
        )
        try:
            self._append(entry)
        except JournalError:
            self._counts.not_journalled["end"] += 1
            self._late.append(entry)

    def refused(self, call: Call) -> None:
        """Say that we refused the call. Fails open: an unrecorded refusal is only counted."""
        assert call.tenant is not None
        assert call.refusal is not None
        reason, message, details = call.refusal
        model = call.asked.model if call.asked is not None else ""
        entry = Refused(
            span_id=call.span_id,
            trace_id=call.trace_id,
            parent_span_id=call.parent_span_id,
            tenant_id=call.tenant.id,
            attribution=call.attribution,
            start_ns=call.started_ns,
            duration_ns=time.monotonic_ns() - call.started,
            name=f"{semconv.CHAT} {model}".rstrip(),
            operation_name=semconv.CHAT,
            provider_name=call.candidate.provider.name if call.candidate is not None else "",
            request_model=model,
            reason=reason,
            message=message,
            details=details,
        )
        try:
            self._append(entry)
        except JournalError:
            self._counts.not_journalled["refused"] += 1

    def retry(self) -> None:
        """Append what the disk did not take before; called every second."""
        try:
            while self._late:
                self._append(self._late[0])
                self._late.popleft()
        except JournalError:
            pass

    def _append(self, entry: Begin | End | Refused) -> None:
        try:
            self.journal.append(entry)
            self.is_writable = True
        except (JournalBroken, JournalFull):
            self.is_writable = False
            raise


def _holds(call: Call) -> list[Hold]:
    if not call.is_held:
        return []
    return [Hold(a.budget.id, a.budget.revision, a.value, a.window_start_s, amount) for a, amount in call.applied]

"""What the journal is told of a call: Begin before the upstream request, End after it, Refused where none was sent.

Recording never breaks a call that the provider has answered: an End that the disk does not take is tried again every
second (bounded: of many the contents are let go), and the attempt is billed at its hold if the process dies first.
Begin fails closed: without it the call is not sent; unless LLMOBS_UNRECORDED allows it and no budget that blocks
applies. Such a call is counted, and is neither a span nor a bill.
"""

import time
from collections import deque
from collections.abc import Callable

import msgspec

from gateway.call import Attempt, Call
from gateway.counts import Counts
from gateway.dialects.dialect import text
from gateway.turn import Turn
from llmobs.core import semconv
from llmobs.core.env import EnvError, read_str
from llmobs.ingest.entries import Begin, Braked, Called, End, Entry, Hold, Refused, UsedPrice
from llmobs.ingest.journal import JournalBroken, JournalError, JournalFull, JournalWriter, Lost
from llmobs.pricing.price import Price

KEPT_BYTES = 1024 * 1024  # of each side's content
MOST_WHOLE_ENDS = 200  # late ones with their contents, up to 2 MB each; of more the contents are let go
MOST_LATE_ENDS = 20_000  # then no call begins: without contents about 1 KB each
REFUSE, ALLOW = "refuse", "allow"  # LLMOBS_UNRECORDED: a call that the journal does not take
MOST_CLIENTS = 1_000  # user agents remembered; when full they are forgotten
MOST_PRICES = 10_000  # versions remembered; when full they are told again
RESCUED = frozenset({"stale_cache", "static"})  # answered by no attempt (gateway/last_resort.py)


class Recorder:
    """Writes the entries of this process's journal."""

    def __init__(self, journal: JournalWriter, counts: Counts, turn: Turn, unrecorded: str = REFUSE) -> None:
        self.journal = journal
        self.allows_unrecorded = unrecorded == ALLOW
        self._turn = turn
        self._counts = counts
        self._late: deque[End] = deque()
        self._clients: dict[bytes, str] = {}
        self._prices: set[tuple[str, str, str]] = set()  # that the journal has
        self.is_writable = True

    @property
    def takes_calls(self) -> bool:
        """Calls are sent, if only unrecorded."""
        return self.is_writable or self.allows_unrecorded

    def begin(self, call: Call, attempt: Attempt) -> None:
        """Say that the attempt is about to be sent. Raises JournalError: then it must not be."""
        if self.allows_unrecorded and not any(applied.budget.is_blocking for applied, _ in attempt.applied):
            self._begin_or_go_on(call, attempt)
        else:
            self._begin(call, attempt, attempt.not_begun)

    def _begin_or_go_on(self, call: Call, attempt: Attempt) -> None:
        def lost(*_: object) -> None:
            self.is_writable = False
            self._counts.not_journalled["begin"] += 1
            attempt.go_unrecorded()

        try:
            self._begin(call, attempt, lost)
        except JournalError:
            lost()

    def _begin(self, call: Call, attempt: Attempt, lost: Lost) -> None:
        if self._late and len(self._late) >= MOST_LATE_ENDS:
            raise JournalBroken(f"{len(self._late)} calls wait for the disk to take their ends")
        assert call.tenant is not None
        assert call.asked is not None
        candidate, speaks = attempt.candidate, attempt.speaks
        provider, price = candidate.provider, attempt.price
        if price is not None and (price.version, price.provider, price.model) not in self._prices:
            self._tell_price(price)
        self._queue(
            Begin(
                attempt=attempt.span_id,
                trace_id=call.trace_id,
                parent_span_id=call.parent_span_id if attempt.number == 1 else call.span_id,
                tenant_id=call.tenant.id,
                attribution=call.attribution,
                start_ns=attempt.started_ns,
                name=f"{speaks.operation_name} {candidate.model}",
                operation_name=speaks.operation_name,
                provider_name=provider.name,
                priced_as=provider.priced_as,
                request_model=call.asked.model,
                model=candidate.model,
                dialect=call.dialect.name,
                is_stream=attempt.streams,
                held_nanousd=attempt.held_nanousd,
                held_usage=attempt.held_usage,
                price_version=price.version if price is not None else "",
                holds=_holds(attempt),
                client=self._client(call.headers.get(b"user-agent", b"")),
                number=attempt.number,
                prompt_version=call.prompt_version,
                findings=call.findings if attempt.number == 1 else [],
                unpriced_nanousd=attempt.unpriced_nanousd,
                first=b"" if attempt.number == 1 else call.attempts[0].span_id,
            ),
            lost,
        )

    def _tell_price(self, price: Price) -> None:
        """Before the first call that is priced by it. Fails open: the writer's own book has it, unless it changed."""
        key = (price.version, price.provider, price.model)
        if len(self._prices) >= MOST_PRICES:
            self._prices.clear()
        self._prices.add(key)
        self._try_to_queue(UsedPrice(price), "price", lambda: self._prices.discard(key))

    def _client(self, user_agent: bytes) -> str:
        """A user agent as it is kept; the few that there are remembered."""
        known = self._clients.get(user_agent)
        if known is None:
            if len(self._clients) >= MOST_CLIENTS:
                self._clients.clear()
            known = self._clients[user_agent] = text(user_agent.decode("latin-1"))
        return known

    def end(self, call: Call, attempt: Attempt) -> None:
        """Say how the attempt ended."""
        if attempt.goes_unrecorded:
            return
        assert call.tenant is not None
        outcome = attempt.outcome
        request, response, is_truncated = self._content(call, outcome.response_body, outcome.is_truncated)
        entry = End(
            attempt=attempt.span_id,
            duration_ns=time.monotonic_ns() - attempt.started,
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
            price_version=outcome.price_version,
            request_body=request,
            response_body=response,
            is_truncated=is_truncated,
            call_span_id=None if call.is_one_attempt else call.span_id,
            findings=attempt.findings,
            degraded=call.degraded if call.is_one_attempt else "",
            stated_nanousd=outcome.stated_nanousd,
        )
        self._queue(entry, self._lost_end)

    def _lost_end(self, entry: Entry, error: JournalError) -> None:
        self.is_writable = False
        self._counts.not_journalled["end"] += 1
        if isinstance(entry, End):
            if len(self._late) >= MOST_WHOLE_ENDS:
                entry = msgspec.structs.replace(entry, request_body=b"", response_body=b"", is_truncated=True)
            self._late.append(entry)

    def called(self, call: Call) -> None:
        """Say what one attempt alone does not tell. Fails open: bills are its attempts', and those are journalled."""
        assert call.tenant is not None
        assert call.asked is not None
        is_rescued = call.degraded in RESCUED
        attempt, asked, cached = None if is_rescued else call.attempt, call.asked, call.cached
        answer_body = call.answer.body if call.answer is not None and (is_rescued or not call.attempts) else b""
        request, response, is_truncated = self._content(call, answer_body, False)
        status, error_type, message = _ended(call)
        outcome = attempt.outcome if attempt is not None else None
        model = attempt.candidate.model if attempt is not None else getattr(cached, "model", "")
        entry = Called(
            span_id=call.span_id,
            trace_id=call.trace_id,
            parent_span_id=call.parent_span_id,
            tenant_id=call.tenant.id,
            attribution=call.attribution,
            start_ns=call.started_ns,
            duration_ns=time.monotonic_ns() - call.started,
            ttft_ns=_first_byte_ns(call),
            name=f"{call.dialect.operation_name} {asked.model}",
            operation_name=call.dialect.operation_name,
            provider_name=attempt.candidate.provider.name if attempt is not None else getattr(cached, "provider", ""),
            request_model=asked.model,
            model=model,
            is_stream=asked.is_stream,
            status=status,
            error_type=error_type,
            message=message,
            attempts=len(call.attempts),
            degraded=call.degraded,
            cache=call.cache,
            saved_input_tokens=getattr(cached, "saved_input_tokens", 0),
            saved_output_tokens=getattr(cached, "saved_output_tokens", 0),
            saved_nanousd=getattr(cached, "saved_nanousd", None),
            response_id=call.answered_id if outcome is None else outcome.response_id,
            finish_reasons=list(outcome.finish_reasons) if outcome is not None else [],
            request_body=request,
            response_body=response,
            is_truncated=is_truncated,
            prompt_version=call.prompt_version,
            findings=[] if call.attempts else call.findings,
            failed_attempts=sum(tried.outcome.status in semconv.ERROR_STATUSES for tried in call.attempts),
        )
        self._try_to_queue(entry, "called")

    def _content(self, call: Call, response: bytes, is_truncated: bool) -> tuple[bytes, bytes, bool]:
        """What is kept of request and answer, and whether it is less than all."""
        if call.tenant is None or call.tenant.content == "none":
            return b"", b"", False
        is_longer = len(call.body) > KEPT_BYTES or len(response) > KEPT_BYTES
        return call.body[:KEPT_BYTES], response[:KEPT_BYTES], is_truncated or is_longer

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
            name=f"{call.dialect.operation_name} {model}".rstrip(),
            operation_name=call.dialect.operation_name,
            provider_name=call.candidates[0].provider.name if call.candidates else "",
            request_model=model,
            reason=reason,
            message=message,
            details=details,
            prompt_version=call.prompt_version,
            findings=call.findings,
        )
        self._try_to_queue(entry, "refused")

    def braked(self, entry: Braked) -> None:
        """Say what the runaway brake did. Fails open: this gateway acts on it all the same."""
        self._try_to_queue(entry, "braked")

    def retry(self) -> None:
        """Append what the disk did not take before; called every second."""
        try:
            while self._late:
                self.journal.append(self._late[0])
                self._late.popleft()
                self.is_writable = True
            if not self.is_writable:  # perhaps nobody calls any more, since we said that we are not ready
                self.is_writable = self.journal.has_room()
        except JournalError:
            self.is_writable = False

    def flush(self) -> None:
        """Write what the calls of this turn have said."""
        journal = self.journal
        if journal.has_queued:
            self.is_writable = True
            journal.flush()  # says so where it is not

    def _queue(self, entry: Entry, lost: Lost) -> None:
        if not self._turn.is_due:
            self._turn.due()
        try:
            self.journal.queue(entry, lost)
        except JournalFull:
            self.is_writable = False
            raise

    def _try_to_queue(
        self, entry: Called | Refused | Braked | UsedPrice, kind: str, undo: Callable[[], None] | None = None
    ) -> None:
        def lost(entry: Entry, error: JournalError) -> None:
            self.is_writable = False
            self._counts.not_journalled[kind] += 1
            if undo is not None:
                undo()

        try:
            self._queue(entry, lost)
        except JournalError as error:
            lost(entry, error)


def unrecorded_policy() -> str:
    """What becomes of a call that the journal does not take, as the environment says. Raises EnvError."""
    policy = read_str("LLMOBS_UNRECORDED", REFUSE)
    if policy not in (REFUSE, ALLOW):
        raise EnvError(f"LLMOBS_UNRECORDED={policy!r} is neither {REFUSE} nor {ALLOW}")
    return policy


def _holds(attempt: Attempt) -> list[Hold]:
    if not attempt.is_held:
        return []
    return [Hold(a.budget.id, a.budget.revision, a.value, a.window_start_s, amount) for a, amount in attempt.applied]


def _ended(call: Call) -> tuple[str, str, str]:
    """Status, error type and message of a call as a whole."""
    outcome = call.attempt.outcome if call.attempt is not None else None
    if call.degraded in RESCUED or outcome is None:
        return semconv.DEGRADED if call.degraded else semconv.OK, "", ""
    if outcome.status == semconv.OK:
        return semconv.DEGRADED if call.degraded else semconv.OK, "", ""
    if call.refusal is not None:
        return outcome.status, call.refusal[0], call.refusal[1]
    return outcome.status, outcome.error_type, ""


def _first_byte_ns(call: Call) -> int | None:
    """From the caller's request to the first byte of the answer, all attempts before it included."""
    attempt = call.attempt
    if attempt is None or attempt.outcome.ttft_ns is None:
        return None
    return attempt.started - call.started + attempt.outcome.ttft_ns

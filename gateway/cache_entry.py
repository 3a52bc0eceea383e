"""One answer as the cache keeps it, and one call's look-up: what it asks, what came of it, what of it is kept."""

from collections.abc import Sequence

import msgspec

from gateway.call import Call
from gateway.dialects import replay
from gateway.single_flight import Flight, Name, Renewal
from llmobs.cache import store
from llmobs.cache.store import Asking
from llmobs.core import semconv

MISS = "miss"

# A model that was stopped by its provider's filter, or that has not come to its end, is asked again.
_NOT_KEPT = frozenset({"content_filter", "refusal", "error", "pause_turn", "failed", "cancelled"})


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One answer as it rests. It names its place, so that it cannot be moved to another."""

    tenant_id: int
    digest: str
    body: bytes  # a whole answer in the caller's format
    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_nanousd: int | None


class Lookup:
    """What one call asks of the cache and what came of it; the journal reads who answered and what was saved."""

    __slots__ = ("asking", "deadline", "entry", "flight", "most_bytes", "renewal", "values")

    def __init__(self, asking: Asking, most_bytes: int) -> None:
        self.asking = asking
        self.most_bytes = most_bytes
        self.values: Sequence[bytes] | None = None  # generations when it was asked; None: it was not
        self.flight: Flight[Entry] | None = None  # others wait for this call
        self.renewal: Renewal | None = None
        self.deadline = 0.0  # of waiting for others; 0.0: it has not waited
        self.entry: Entry | None = None  # what the call was answered from

    @property
    def name(self) -> Name:
        return self.asking.tenant_id, self.asking.digest

    @property
    def provider(self) -> str:
        return self.entry.provider if self.entry is not None else ""

    @property
    def model(self) -> str:
        return self.entry.model if self.entry is not None else ""

    @property
    def saved_input_tokens(self) -> int:
        return self.entry.input_tokens if self.entry is not None else 0

    @property
    def saved_output_tokens(self) -> int:
        return self.entry.output_tokens if self.entry is not None else 0

    @property
    def saved_nanousd(self) -> int | None:
        return self.entry.cost_nanousd if self.entry is not None else None


def entry_of(call: Call, lookup: Lookup) -> Entry | None:
    """The call's answer as an entry; None: it is none to be given again."""
    attempt = call.attempt
    if attempt is None or call.degraded or call.cache != MISS or attempt.findings:
        return None
    outcome = attempt.outcome
    if outcome.status != semconv.OK or outcome.is_truncated or not _NOT_KEPT.isdisjoint(outcome.finish_reasons):
        return None
    body = _whole_body(call)
    if body is None:
        return None
    usage = outcome.usage
    return Entry(
        tenant_id=lookup.asking.tenant_id,
        digest=lookup.asking.digest,
        body=body,
        provider=attempt.candidate.provider.name,
        model=attempt.candidate.model,
        input_tokens=usage.input_tokens if usage is not None else 0,
        output_tokens=usage.output if usage is not None else 0,
        cost_nanousd=outcome.cost_nanousd,
    )


def _whole_body(call: Call) -> bytes | None:
    """The answer as one body in the caller's format; a stream is put together from what its provider sent."""
    answer, attempt = call.answer, call.attempt
    if answer is None or attempt is None:
        return None
    if not answer.is_stream:
        return answer.body if answer.status == 200 else None
    try:
        whole = replay.as_whole(attempt.speaks, attempt.outcome.response_body)
        if whole is not None and attempt.translation is not None:
            whole = attempt.translation.answer(whole)
    except Exception:  # any oddity of a provider's stream: it was passed on, and is not kept
        return None
    return whole


def kept_generations(call: Call, lookup: Lookup, entry: Entry) -> list[tuple[str, bytes]]:
    """The generations that the entry depends on: of the models, the one asked for and the one that answered."""
    assert lookup.values is not None
    assert call.asked is not None
    models = {store.name("model", call.asked.model), store.name("model", entry.model)}
    pairs = zip(lookup.asking.names, lookup.values, strict=True)
    return [(name, value) for name, value in pairs if not name.startswith("model:") or name in models]

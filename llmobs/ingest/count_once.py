"""Count once: which of the call spans that report provider responses bear the bill. Pure; depends on the set alone.

Several spans may report one provider response: the gateway's own, the application's instrumentation, a framework's
around it, an SDK's own span inside. The rule, in steps:

1. Rank all claims by one total order: the gateway's own before any report, those with usage before those without,
   those that do not give way before those that do, then the innermost of a chain, then later start, earlier end, ids.
2. Go through them in that order; a claim counts unless a claim that counts already is the same call. Same call is:
   a. one is an ancestor of the other in their trace (also over spans that are no calls);
   b. equal response id, different scope, and the times overlap, across traces too. Equal ids of one scope are several
      answers: a response cache answers many calls with one id. Its ancestors, which may have no id, repeat it as well;
      and what counts without an id of its own has those of its ancestors: a report of such an id elsewhere is the same
      call, and within a report whose response counts elsewhere one without id, of no other usage, is it too;
   c. one of them gives way and the other has no response id, the times overlap and the usage is equal (or neither
      has any: one failure, seen twice).
3. A witness counts nothing, and reports of its response id are the same call: the gateway's own span of a call whose
   attempts failed and that was answered from what it keeps, under an id that no attempt had.

A claim's fate depends only on claims reachable over these relations, which `ingest.claims` loads.
"""

from binascii import b2a_base64
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import md5

import msgspec

from llmobs.core.clock import NS_PER_SECOND
from llmobs.core.semconv import SOURCE_GATEWAY
from llmobs.spans.record import Span

Key = tuple[bytes, bytes]  # trace id, span id

# Scopes whose spans repeat what any instrumentation around them reports.
YIELDING_SCOPES = frozenset({"com.anthropic.sdk.python"})
YIELDING_NAMES = frozenset({"raw_gen_ai_request"})

# Answers of the gateway that are no attempt's (`llmobs.degraded`): its own span alone knows their response id.
NOBODYS_ANSWERS = frozenset({"stale_cache", "static"})

# The gateway and the application may be two machines with two clocks.
CLOCK_SKEW_NS = 60 * NS_PER_SECOND
# A trace deeper than this is cut: a chain of calls is a few spans deep, a loop of parents must end.
DEEPEST = 1000
_SHORT = 12  # characters


class ClaimInfo(msgspec.Struct, frozen=True, gc=False):
    """One call span's claim to count. Times are whole microseconds (in ns), as PostgreSQL keeps them."""

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes | None
    start_ns: int
    end_ns: int
    source: int
    scope_name: str  # of names and ids, which are compared alone, what `_short` leaves
    yields: bool
    response_id: str
    usage: tuple[int, int] | None  # all input and all output, what every library agrees on; None: unknown

    @property
    def key(self) -> Key:
        return self.trace_id, self.span_id

    @property
    def is_witness(self) -> bool:
        """No span of the gateway's gives way: the mark is free to tell these."""
        return self.yields and self.source == SOURCE_GATEWAY


def claim_of(span: Span) -> ClaimInfo:
    """The claim of a call span, or of a witness; no other span has one."""
    start_ns, usage = span.start_ns, span.usage
    return ClaimInfo(
        span.trace_id,
        span.span_id,
        span.parent_span_id,
        start_ns // 1000 * 1000,
        (start_ns + span.duration_ns) // 1000 * 1000,
        span.source,
        _short_scope(span.scope_name),
        is_witness(span) if span.source == SOURCE_GATEWAY else gives_way(span),
        _short(span.response_id),
        None if usage is None else (usage.input_tokens, usage.output_tokens),
    )


def _short(text: str) -> str:
    """A name or an id as its claim keeps it: what is long by 64 bits of its MD5, in 12 characters (migration 0009)."""
    if len(text) <= _SHORT:
        return text
    digest = md5(text.encode("utf-8", "replace"), usedforsecurity=False).digest()
    return b2a_base64(digest[:8], newline=False).decode()


_short_scope = lru_cache(maxsize=1024)(_short)


def gives_way(span: Span) -> bool:
    """Whether any other report of the same call is better than this one (raw twins, SDKs' own spans)."""
    return span.source != SOURCE_GATEWAY and (span.scope_name in YIELDING_SCOPES or span.name in YIELDING_NAMES)


def is_witness(span: Span) -> bool:
    """Whether it tells a response id that is the gateway's own, and counts nothing itself."""
    if span.source != SOURCE_GATEWAY or span.is_call or not span.response_id:
        return False
    return span.attributes.get("llmobs.degraded") in NOBODYS_ANSWERS


def has_claim(span: Span) -> bool:
    """Whether count-once must know it."""
    return span.is_call or is_witness(span)


def decide(claims: Iterable[ClaimInfo], parents: Mapping[Key, bytes | None]) -> set[Key]:
    """The (trace id, span id) of the claims that count: each provider response once.

    `claims` are of one tenant. `parents` gives the parent of every known span of their traces, also of those that are
    no calls; a span that is missing there ends its chain, but for a claim's own parent, which is known from the claim.
    """
    by_key = {(claim.trace_id, claim.span_id): claim for claim in claims}
    if _are_all_alone(by_key, parents):
        return set(by_key)
    chains = {key: _call_ancestors(claim, by_key, parents) for key, claim in by_key.items()}
    board = _Board(chains, by_key)
    ordered = sorted(by_key.values(), key=lambda claim: _rank(claim, len(chains[claim.key])))
    for claim in ordered:
        if claim.is_witness:
            board.hear(claim)
        elif claim.source == SOURCE_GATEWAY:
            board.count(claim)
    reports = [claim for claim in ordered if claim.source != SOURCE_GATEWAY]
    for claim in reports:
        board.pass_on(claim)
    for claim in reports:
        if not board.has_counted(claim):
            board.count(claim)
    return board.counted


def _are_all_alone(by_key: Mapping[Key, ClaimInfo], parents: Mapping[Key, bytes | None]) -> bool:
    """Whether none of the relations holds between any two, as in most batches: then each counts."""
    named = [claim.response_id for claim in by_key.values() if claim.response_id]
    if len(set(named)) < len(named) or any(claim.yields for claim in by_key.values()):
        return False
    passed: set[Key] = set()  # above which there is no claim, as far as was looked
    for claim in by_key.values():
        span_id = claim.parent_span_id
        while span_id is not None and (key := (claim.trace_id, span_id)) not in passed:
            if key in by_key:
                return False
            passed.add(key)
            span_id = parents.get(key)
    return True


def _rank(claim: ClaimInfo, depth: int) -> tuple[bool, bool, bool, int, int, int, bytes, bytes]:
    return (
        claim.source != SOURCE_GATEWAY,
        claim.usage is None,
        claim.yields,
        -depth,
        -claim.start_ns,
        claim.end_ns,
        claim.trace_id,
        claim.span_id,
    )


def _call_ancestors(
    claim: ClaimInfo, by_key: Mapping[Key, ClaimInfo], parents: Mapping[Key, bytes | None]
) -> tuple[Key, ...]:
    """The claims among a claim's ancestors, innermost first."""
    found: list[Key] = []
    seen = {claim.span_id}
    span_id = claim.parent_span_id
    while span_id is not None and span_id not in seen and len(seen) < DEEPEST:
        seen.add(span_id)
        key = (claim.trace_id, span_id)
        above = by_key.get(key)
        if above is not None:
            found.append(key)
            span_id = above.parent_span_id
        else:
            span_id = parents.get(key)
    return tuple(found)


class _Board:
    """What counts so far, found again by each of the three relations."""

    def __init__(self, chains: Mapping[Key, tuple[Key, ...]], by_key: Mapping[Key, ClaimInfo]) -> None:
        self.counted: set[Key] = set()
        self._chains = chains
        self._by_key = by_key
        self._found_within: set[Key] = set()  # reports that one without id inside them was taken for
        self._above_counted: set[Key] = set()
        self._by_response: dict[str, list[ClaimInfo]] = {}
        self._without_id: dict[tuple[int, int] | None, list[ClaimInfo]] = {}

    def count(self, claim: ClaimInfo) -> None:
        self.counted.add(claim.key)
        self._above_counted.update(self._chains[claim.key])
        if claim.response_id:
            self._by_response.setdefault(claim.response_id, []).append(claim)
        else:
            for above in self._named_above(claim):
                self._by_response.setdefault(above.response_id, []).append(above)
            if not claim.yields:
                self._without_id.setdefault(claim.usage, []).append(claim)

    def hear(self, witness: ClaimInfo) -> None:
        self._by_response.setdefault(witness.response_id, []).append(witness)

    def pass_on(self, claim: ClaimInfo) -> bool:
        """Whether its response is another's that counts; then what sums it up in its own trace repeats that too."""
        if not any(_same_response(claim, other) for other in self._by_response.get(claim.response_id, ())):
            return False
        self._above_counted.update(self._chains[claim.key])
        return True

    def has_counted(self, claim: ClaimInfo) -> bool:
        """Whether the call of this report counts already."""
        if claim.key in self._above_counted or not self.counted.isdisjoint(self._chains[claim.key]):
            return True
        if self.pass_on(claim) or (claim.yields and self._has_counted_without_id(claim)):
            return True
        return not claim.response_id and self._is_in_one_that_counts_elsewhere(claim)

    def _is_in_one_that_counts_elsewhere(self, claim: ClaimInfo) -> bool:
        """Each report stands for one call inside it: what else it did is its own."""
        for above in self._named_above(claim):
            for other in self._by_response.get(above.response_id, ()):
                may_be = other.usage is None or claim.usage in (None, other.usage)
                if may_be and above.key not in self._found_within and _same_response(above, other):
                    self._found_within.add(above.key)
                    self._above_counted.update(self._chains[claim.key])
                    return True
        return False

    def _named_above(self, claim: ClaimInfo) -> list[ClaimInfo]:
        """Its ancestors that report a response id."""
        found = [self._by_key[key] for key in self._chains[claim.key]]
        return [above for above in found if above.response_id and above.source != SOURCE_GATEWAY]

    def _has_counted_without_id(self, claim: ClaimInfo) -> bool:
        # The other has no id to compare. Without usage, only a failure (no id here either) is the same failure.
        if claim.usage is None and claim.response_id:
            return False
        return any(
            other.scope_name != claim.scope_name and _overlap(claim, other, 0)
            for other in self._without_id.get(claim.usage, ())
        )


def _same_response(claim: ClaimInfo, other: ClaimInfo) -> bool:
    if other.source == SOURCE_GATEWAY:
        return _overlap(claim, other, CLOCK_SKEW_NS)
    return claim.scope_name != other.scope_name and _overlap(claim, other, 0)


def _overlap(one: ClaimInfo, other: ClaimInfo, slack_ns: int) -> bool:
    return one.start_ns <= other.end_ns + slack_ns and other.start_ns <= one.end_ns + slack_ns

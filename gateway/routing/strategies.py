"""In which order a route's candidates are tried, for one call. Pure but for `Turns`, the weighted strategy's memory.

1. Confidential content stays with local providers.
2. What an open breaker keeps away is left out; what it would let through as a probe stays in its place.
3. A canary comes first for its share of the users, the same ones each time, and last for all others.
4. The strategy orders the rest.
5. What must pause after a 429 goes behind the others.
6. The key's criticality: a realtime call goes to what is not failing first; a best-effort call takes no candidate
   that is dearer than its first, and is the first to be shed where one is degraded.

Two runs over the same facts give the same order. The breaker of each candidate is asked again when its turn comes:
a probe or a share of the ramp is taken then, by those that are really tried.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from gateway.errors import Refusal
from llmobs.pricing.cost import cost
from llmobs.pricing.price import Price
from llmobs.pricing.usage import Usage
from llmobs.providers.registry import CandidateInfo, RouteInfo

FALLBACK, WEIGHTED, CHEAPEST, FASTEST, CASCADE = "fallback", "weighted", "cheapest", "fastest", "cascade"
REALTIME, BACKGROUND, BEST_EFFORT = "realtime", "background", "best_effort"
BUCKETS = 10_000  # a canary's share is exact to a hundredth of a percent
EXPLORE_EACH = 10  # every tenth call, by its id, goes to a candidate whose latency is not known
UNPRICED = 1 << 62  # behind everything that has a price
MOST_TURNS = 1_000
NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class Facts:
    """What the order depends on besides the route. `usage`: what the call is expected to use."""

    tenant_id: int
    criticality: str = BACKGROUND
    user: str = ""
    session: str = ""
    trace_id: bytes = b""
    span_id: bytes = b""
    is_stream: bool = False
    is_confidential: bool = False
    usage: Usage = NO_USAGE


@dataclass(frozen=True, slots=True)
class Standing:
    """How a candidate stands now: may it be asked at all, must it pause, does it fail now and then, does it recover."""

    is_open: bool = False
    is_cooling: bool = False
    is_failing: bool = False
    is_recovering: bool = False

    @property
    def is_degraded(self) -> bool:
        return self.is_cooling or self.is_failing or self.is_recovering


class Standings(Protocol):
    """Where it is asked: `gateway.health.Health`."""

    def standing(self, candidate: CandidateInfo, now_s: float) -> Standing: ...
    def p95_ms(self, candidate: CandidateInfo, is_stream: bool) -> float | None: ...


Prices = Callable[[CandidateInfo], Price | None]


class Turns:
    """Smooth weighted round robin: exact shares over few calls, and never one candidate many times in a row."""

    def __init__(self) -> None:
        self._current: dict[tuple[object, ...], list[float]] = {}

    def first(self, route: RouteInfo, candidates: Sequence[CandidateInfo]) -> int:
        """Whose turn it is."""
        weights = [max(0.0, candidate.weight) for candidate in candidates]
        if not sum(weights):
            weights = [1.0] * len(candidates)
        key = (route.id, route.name, *((c.provider.id, c.model, w) for c, w in zip(candidates, weights, strict=True)))
        current = self._current.get(key)
        if current is None:
            if len(self._current) >= MOST_TURNS:  # routes of former configurations: their turns begin anew
                self._current.clear()
            current = self._current[key] = [0.0] * len(candidates)
        for index, weight in enumerate(weights):
            current[index] += weight
        chosen = max(range(len(current)), key=current.__getitem__)
        current[chosen] -= sum(weights)
        return chosen


def plan(
    route: RouteInfo, facts: Facts, health: Standings, prices: Prices, turns: Turns, now_s: float
) -> tuple[CandidateInfo, ...]:
    """The candidates in the order to try; empty: none may be asked now. Raises Refusal("sensitive_data")."""
    allowed = _local(route, facts) if facts.is_confidential else route.candidates
    if len(allowed) == 1 and facts.criticality != BEST_EFFORT:  # nothing to order
        return () if health.standing(allowed[0], now_s).is_open else allowed
    standings = {_key(candidate): health.standing(candidate, now_s) for candidate in allowed}
    left = [candidate for candidate in allowed if not standings[_key(candidate)].is_open]
    if not left:
        return ()
    ordered = _with_canary(route, facts, left, lambda stable: _by_strategy(route, facts, stable, health, prices, turns))
    ordered.sort(key=lambda candidate: standings[_key(candidate)].is_cooling)
    if facts.criticality == REALTIME:
        ordered.sort(key=lambda candidate: standings[_key(candidate)].is_failing)
    elif facts.criticality == BEST_EFFORT:
        ordered = _affordable(ordered, standings, prices, facts.usage)
    return tuple(ordered)


def _key(candidate: CandidateInfo) -> tuple[int, str]:
    return candidate.provider.id, candidate.model


def primary(route: RouteInfo, facts: Facts) -> CandidateInfo | None:
    """Who would answer if all were well: an answer by another is a fallback's. None: whoever the order put first."""
    if route.strategy != FALLBACK or facts.is_confidential:
        return None
    canaries = [candidate for candidate in route.candidates if candidate.canary_percent]
    chosen = _chosen(canaries, bucket(route, facts)) if canaries else None
    return chosen or next((candidate for candidate in route.candidates if not candidate.canary_percent), None)


def _local(route: RouteInfo, facts: Facts) -> tuple[CandidateInfo, ...]:
    local = tuple(candidate for candidate in route.candidates if candidate.provider.is_local)
    if not local:
        raise Refusal(
            "sensitive_data",
            f"the content is confidential, and {route.name!r} has no local provider that it may go to: "
            "add a candidate whose provider is marked is_local",
        )
    return local


# ---------------------------------------------------------------- canary


def bucket(route: RouteInfo, facts: Facts) -> int:
    """Where a caller falls, of BUCKETS: by its user, else its session, else its trace, the same each time.

    The route's own salt and name are in it, so that not the same users are the canary's everywhere.
    """
    who = facts.user or facts.session or facts.trace_id.hex()
    return _hash(f"{route.salt}:{route.name}:{facts.tenant_id}:{who}".encode()) % BUCKETS


def _hash(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest())


def _with_canary(
    route: RouteInfo,
    facts: Facts,
    candidates: list[CandidateInfo],
    order: Callable[[list[CandidateInfo]], list[CandidateInfo]],
) -> list[CandidateInfo]:
    canaries = [candidate for candidate in candidates if candidate.canary_percent]
    if not canaries:
        return order(candidates)
    stable = order([candidate for candidate in candidates if not candidate.canary_percent])
    chosen = _chosen(canaries, bucket(route, facts))
    first = [chosen] if chosen is not None else []
    return [*first, *stable, *(canary for canary in canaries if canary is not chosen)]


def _chosen(canaries: Sequence[CandidateInfo], at: int) -> CandidateInfo | None:
    end = 0.0
    for canary in canaries:
        end += canary.canary_percent * BUCKETS / 100
        if at < end:
            return canary
    return None


# ---------------------------------------------------------------- strategies


def _by_strategy(
    route: RouteInfo,
    facts: Facts,
    candidates: list[CandidateInfo],
    health: Standings,
    prices: Prices,
    turns: Turns,
) -> list[CandidateInfo]:
    if len(candidates) < 2:
        return candidates
    if route.strategy == WEIGHTED:
        first = turns.first(route, candidates)
        return [candidates[first], *candidates[:first], *candidates[first + 1 :]]
    if route.strategy == CHEAPEST:
        return _cheapest(candidates, route.quality_floor, prices, facts.usage)
    if route.strategy == FASTEST:
        return _fastest(candidates, health, facts)
    return candidates  # fallback as listed; a cascade is listed from cheap to dear


def _cheapest(candidates: list[CandidateInfo], floor: float, prices: Prices, usage: Usage) -> list[CandidateInfo]:
    """By price, of those that meet the floor; the others are its fallbacks, the best first."""
    meeting = [c for c in candidates if c.quality >= floor]
    below = [c for c in candidates if c.quality < floor]
    meeting.sort(key=lambda candidate: expected_nanousd(candidate, prices, usage))
    below.sort(key=lambda candidate: -candidate.quality)
    return meeting + below


def _fastest(candidates: list[CandidateInfo], health: Standings, facts: Facts) -> list[CandidateInfo]:
    """By live p95: of the first byte for streams, of the whole answer otherwise. Some calls try what is not known."""
    known, unknown = [], []
    for candidate in candidates:
        p95 = health.p95_ms(candidate, facts.is_stream)
        if p95 is None:
            unknown.append(candidate)
        else:
            known.append((p95, candidate))
    known.sort(key=lambda pair: pair[0])
    fast = [candidate for _, candidate in known]
    turn = _hash(facts.span_id)
    if unknown and (not fast or turn % EXPLORE_EACH == 0):
        first = unknown.pop(turn // EXPLORE_EACH % len(unknown))
        return [first, *fast, *unknown]
    return fast + unknown


def expected_nanousd(candidate: CandidateInfo, prices: Prices, usage: Usage) -> int:
    """What the call would cost there; one without a price comes last."""
    price = prices(candidate)
    nanousd = None if price is None else cost(usage, price)
    return UNPRICED if nanousd is None else nanousd


def _affordable(
    ordered: list[CandidateInfo], standings: dict[tuple[int, str], Standing], prices: Prices, usage: Usage
) -> list[CandidateInfo]:
    """For best-effort calls: nothing dearer than the first choice, nothing that is degraded."""
    most = expected_nanousd(ordered[0], prices, usage)
    return [
        candidate
        for index, candidate in enumerate(ordered)
        if not standings[_key(candidate)].is_degraded
        and (index == 0 or expected_nanousd(candidate, prices, usage) <= most)
    ]

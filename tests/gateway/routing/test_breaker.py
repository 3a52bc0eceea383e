"""The breaker's transitions, by hand and by any sequence of outcomes."""

import asyncio

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.health import Health
from gateway.routing import breaker as rules
from gateway.routing import retrying
from gateway.routing.breaker import CLOSED, OPEN, RAMP, Breaker, Seen, judged, opened, probed, state_of
from gateway.routing.cell import PROBE, Verdict
from llmobs.providers.registry import CandidateInfo
from tests.gateway.routing.made import candidate


@pytest.mark.parametrize(
    ("seen", "phase"),
    [
        (Seen(0, 4, 4), CLOSED),
        (Seen(100, 5, 5), OPEN),
        (Seen(4, 5, 1), CLOSED),  # nine calls say nothing
        (Seen(5, 5, 1), CLOSED),  # half is not more than half
        (Seen(4, 6, 1), OPEN),
        (Seen(95, 5, 1), CLOSED),
    ],
)
def test_it_trips_at_five_in_a_row_or_more_than_half_of_ten(seen: Seen, phase: str) -> None:
    """S2-24, S3-12: five failures in a row, or more than 50 % of at least 10 calls in 30 s."""
    assert judged(Breaker(), seen, 100.0).phase == phase


def test_it_opens_for_thirty_seconds_and_ramps_up_in_four_steps() -> None:
    """S4-18: a returning model gets 10, 25, 50, then all of the calls, each for some seconds of success."""
    breaker, now = probed(True, opened(100.0).until_s), 130.0
    shares = []
    while breaker.phase == RAMP:
        shares.append(breaker.share)
        assert judged(breaker, Seen(9, 0, 0), now + 4.9) is breaker
        now += 5.0
        breaker = judged(breaker, Seen(9, 0, 0), now)
    assert shares == [0.1, 0.25, 0.5, 1.0]
    assert (breaker.phase, now) == (CLOSED, 150.0)


def test_a_ramp_that_mostly_fails_opens_again() -> None:
    assert judged(probed(True, 100.0), Seen(3, 4, 1), 101.0) == opened(101.0)


def test_a_ramp_without_calls_goes_on_after_half_a_minute() -> None:
    breaker = probed(True, 100.0)
    assert judged(breaker, Seen(), 134.9) is breaker
    assert judged(breaker, Seen(), 135.0).step == 1


def test_a_failed_probe_opens_it_for_another_thirty_seconds() -> None:
    assert probed(False, 130.0) == Breaker(OPEN, 0, 160.0, 130.0)


@pytest.mark.parametrize(
    ("breaker", "seen", "is_cooling", "state"),
    [
        (Breaker(), Seen(100, 0, 0), False, "healthy"),
        (Breaker(), Seen(100, 6, 0), False, "degraded"),
        (Breaker(), Seen(100, 0, 0), True, "degraded"),
        (Breaker(), Seen(0, 3, 3), False, "degraded"),
        (opened(1.0), Seen(), False, "unhealthy"),
        (probed(True, 1.0), Seen(), False, "recovering"),
    ],
)
def test_each_state_has_its_word(breaker: Breaker, seen: Seen, is_cooling: bool, state: str) -> None:
    """S4-17: healthy, degraded, unhealthy (and on its way back: recovering)."""
    assert state_of(breaker, seen, is_cooling) == state


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


ONE = candidate("openai/gpt-4o")
STEPS = st.lists(st.tuples(st.sampled_from(["call", "ok", "failed", "neither"]), st.floats(0.0, 20.0)), max_size=60)


def allowed(health: Health, clock: Clock) -> Verdict:
    return asyncio.run(health.allows(ONE, clock()))


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_no_sequence_lets_two_probes_through(steps: list[tuple[str, float]]) -> None:
    """S2-24: half open lets exactly one call through at a time, whatever happens meanwhile."""
    clock = Clock()
    health = Health(None, "gateway-1", clock)
    under_way: list[tuple[Verdict, float]] = []
    for what, seconds in steps:
        clock.now += seconds
        asyncio.run(health.tick())
        if what == "call":
            verdict = allowed(health, clock)
            if verdict.word == PROBE:
                others = [v for v, at in under_way if v == verdict and clock.now - at < 60.0]
                assert not others
            if not verdict.is_skip:
                under_way.append((verdict, clock.now))
        elif under_way:
            verdict, _ = under_way.pop(0)
            if what == "ok":
                health.ok(ONE, None, 1_000_000, verdict)
            elif what == "failed":
                health.failed(ONE, retrying.TIMED_OUT, None, verdict)
            else:
                health.neither(ONE, verdict)


@given(STEPS)
@settings(max_examples=100, deadline=None)
def test_it_always_recovers_once_calls_succeed(steps: list[tuple[str, float]]) -> None:
    """S4-16, S4-18: whatever happened before, a model that answers again is healthy again within two minutes."""
    clock = Clock()
    health = Health(None, "gateway-1", clock)
    for what, seconds in steps:
        clock.now += seconds
        asyncio.run(health.tick())
        verdict = allowed(health, clock)
        if not verdict.is_skip and what in ("ok", "failed"):
            health.failed(ONE, retrying.FAILING, None, verdict)
    for _ in range(1200):
        clock.now += 0.1
        verdict = allowed(health, clock)
        if not verdict.is_skip:
            health.ok(ONE, None, 1_000_000, verdict)
        asyncio.run(health.tick())
    assert health.state(ONE) == "healthy"


def trip(health: Health, times: int = rules.FAILURES_IN_A_ROW) -> None:
    for _ in range(times):
        health.failed(ONE, retrying.FAILING)


def test_an_open_breaker_skips_and_then_probes_once() -> None:
    """S2-24, S2-25: five failures open it; after its time one probe goes, all others are skipped."""
    clock = Clock()
    health = Health(None, "gateway-1", clock)
    trip(health)
    assert health.standing(ONE, clock()).is_open
    assert allowed(health, clock).is_skip
    clock.now += rules.OPEN_SECONDS
    assert not health.standing(ONE, clock()).is_open
    assert [allowed(health, clock).word for _ in range(3)] == [PROBE, "skip", "skip"]
    assert health.changes == {("openai/gpt-4o", "open"): 1}


def test_a_ramp_lets_its_share_through() -> None:
    """S4-18: of forty calls in the first step four go, the first among them."""
    clock = Clock()
    health = Health(None, "gateway-1", clock)
    trip(health)
    clock.now += rules.OPEN_SECONDS
    health.ok(ONE, None, 1, allowed(health, clock))
    went = [not allowed(health, clock).is_skip for _ in range(40)]
    assert went[0]
    assert sum(went) == 4


def test_what_began_before_it_opened_says_nothing_afterwards() -> None:
    clock = Clock()
    health = Health(None, "gateway-1", clock)
    before = allowed(health, clock)
    trip(health)
    clock.now += rules.OPEN_SECONDS
    health.ok(ONE, None, 1, allowed(health, clock))  # the probe
    for _ in range(9):
        health.failed(ONE, retrying.TIMED_OUT, None, before)
    assert health.state(ONE) == "recovering"


def test_a_probe_that_says_nothing_is_given_back() -> None:
    """A caller's 4xx as a probe: the next call probes."""
    clock = Clock()
    health = Health(None, "gateway-1", clock)
    trip(health)
    clock.now += rules.OPEN_SECONDS
    health.failed(ONE, retrying.CALLER, None, allowed(health, clock))
    assert allowed(health, clock).word == PROBE


@pytest.mark.parametrize("kind", [retrying.CALLER, retrying.RATE_LIMITED, retrying.ACCOUNT, retrying.BUSY])
def test_what_is_not_the_providers_fault_never_opens_it(kind: str) -> None:
    """S3-12: a caller's 4xx never counts, and a 429 is a pause."""
    clock = Clock()
    health = Health(None, "gateway-1", clock)
    for _ in range(50):
        health.failed(ONE, kind)
    assert not allowed(health, clock).is_skip


def test_a_429_puts_it_behind_the_others_for_as_long_as_it_said() -> None:
    """S0-31: a cooldown for what is rate limited."""
    clock = Clock()
    health = Health(None, "gateway-1", clock)
    health.failed(ONE, retrying.RATE_LIMITED, 7.0)
    assert (health.standing(ONE, clock()).is_cooling, health.state(ONE)) == (True, "degraded")
    clock.now += 7.0
    assert (health.standing(ONE, clock()).is_cooling, health.state(ONE)) == (False, "healthy")


def test_a_provider_without_a_breaker_is_never_skipped() -> None:
    clock = Clock()
    health = Health(None, "gateway-1", clock)
    off = candidate("openai/gpt-4o", provider_breaker=False)
    for _ in range(50):
        health.failed(off, retrying.FAILING)
    assert not health.standing(off, clock()).is_open
    assert not asyncio.run(health.allows(off, clock())).is_skip


def test_failures_of_another_address_say_nothing_of_this_one() -> None:
    clock = Clock()
    health = Health(None, "gateway-1", clock)
    trip(health)
    elsewhere = msgspec.structs.replace(ONE.provider, base_url="https://elsewhere.example.com/v1")
    moved = CandidateInfo(elsewhere, ONE.model)
    assert not asyncio.run(health.allows(moved, clock())).is_skip

"""The windows on a real Valkey: never more than the limit in any of them, all limits of a call or none, settled."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from llmobs.limits import admission, scripts
from llmobs.limits.admission import Exceeded, Taken
from llmobs.limits.units import STEPS
from llmobs.tenants.attribution import Attribution
from tests.limits.made import AT_S, admit, applied, counted, settle

ANN, BOB = Attribution(user_id="ann", feature="chat"), Attribution(user_id="bob", feature="search")
DAY_S = 86_400


def test_s4_03_requests_and_tokens_slide_over_a_minute_and_both_must_pass(valkey: redis.Redis) -> None:
    """S4-03: a sliding minute over requests and tokens; a call that one of them refuses takes of neither."""
    requests, tokens = applied(2, id=1), applied(100, id=2, unit="tokens")
    assert isinstance(admit(valkey, (requests, 1), (tokens, 90)), Taken)
    assert admit(valkey, (requests, 1), (tokens, 11), at_s=AT_S + 10) == Exceeded(1, 90, 100, 51)
    assert (counted(valkey, requests), counted(valkey, tokens)) == (1, 90)
    assert isinstance(admit(valkey, (requests, 1), (tokens, 10), at_s=AT_S + 20), Taken)
    assert admit(valkey, (requests, 1), (tokens, 0), at_s=AT_S + 30) == Exceeded(0, 2, 2, 31)


def test_s4_02_sixty_requests_and_90000_tokens_a_minute(valkey: redis.Redis) -> None:
    """S4-02: 60 requests and 90,000 tokens a minute, as limits that anyone may set."""
    requests, tokens = applied(60, id=1), applied(90_000, id=2, unit="tokens")
    granted = [isinstance(admit(valkey, (requests, 1), (tokens, 1_500)), Taken) for _ in range(70)]
    assert granted == [True] * 60 + [False] * 10
    assert (counted(valkey, requests), counted(valkey, tokens)) == (60, 90_000)


def test_s4_01_three_layers_at_once_and_the_first_that_is_full_refuses(valkey: redis.Redis) -> None:
    """S4-01: global requests a minute, global tokens a minute and a daily quota per user, in one step."""
    all_requests = applied(10, id=1, tenant_id=None)
    all_tokens = applied(1_000, id=2, tenant_id=None, unit="tokens")
    quota = applied(500, ANN, id=3, unit="tokens", per="day", scope=(("user", "*"),))
    asked = ((all_requests, 1), (all_tokens, 300), (quota, 300))
    assert admit(valkey, *asked) == Taken(AT_S, (9, 700, 200), (61, 61, 300 - AT_S % 300 + DAY_S))
    refused = admit(valkey, *asked, at_s=AT_S + 1)
    assert isinstance(refused, Exceeded)
    assert (refused.index, refused.used, refused.limit) == (2, 300, 500)
    assert (counted(valkey, all_requests), counted(valkey, all_tokens), counted(valkey, quota)) == (1, 300, 300)


@pytest.mark.parametrize(
    ("per", "limit", "tokens"), [("minute", 100_000, 30_000), ("day", 1_000_000, 300_000)], ids=["minute", "day"]
)
def test_s0_20_tokens_of_a_user_slide(valkey: redis.Redis, per: str, limit: int, tokens: int) -> None:
    """S0-20: 100,000 tokens a minute and 1,000,000 a day for each user."""
    ann, bob = (applied(limit, who, unit="tokens", per=per, scope=(("user", "*"),)) for who in (ANN, BOB))
    assert [isinstance(admit(valkey, (ann, tokens)), Taken) for _ in range(4)] == [True, True, True, False]
    assert isinstance(admit(valkey, (bob, tokens)), Taken)
    step_s, steps = STEPS[per]
    assert isinstance(admit(valkey, (ann, tokens), at_s=AT_S + step_s * steps - 1), Exceeded)
    assert isinstance(admit(valkey, (ann, tokens), at_s=AT_S + step_s * (steps + 1)), Taken)


def test_s0_19_one_long_document_weighs_as_much_as_two_thousand_questions(valkey: redis.Redis) -> None:
    """S0-19: tokens are what counts: a 100,000-token document fills what 2,000 queries of 50 tokens would."""
    tokens = applied(100_000, unit="tokens")
    assert admit(valkey, (tokens, 100_000)) == Taken(AT_S, (0,), (61,))
    assert admit(valkey, (tokens, 50)) == Exceeded(0, 100_000, 100_000, 61)


def test_s0_21_counters_go_away_by_themselves(valkey: redis.Redis) -> None:
    """S0-21: what a minute counted lives 120 s, what a day counted 172,800 s; steps that left are dropped before."""
    minute, day = applied(10), applied(10, id=2, per="day")
    admit(valkey, (minute, 1), (day, 1))
    assert (valkey.ttl(minute.key), valkey.ttl(day.key)) == (120, 172_800)
    for second in range(1, 200, 7):
        admit(valkey, (minute, 1), at_s=AT_S + second)
    assert valkey.hlen(minute.key) <= 2 + 61
    admit(valkey, (minute, 1), at_s=AT_S + 1_000)
    assert valkey.hlen(minute.key) == 3


def test_s2_16_ten_a_minute_from_one_address(valkey: redis.Redis) -> None:
    """S2-16: 10 requests a minute for each address, whichever tenant's key it shows."""
    addresses = ("192.0.2.1", "192.0.2.2")
    here, there = (applied(10, ip=address, tenant_id=None, scope=(("ip", "*"),)) for address in addresses)
    granted = [isinstance(admit(valkey, (here, 1)), Taken) for _ in range(12)]
    assert granted == [True] * 10 + [False] * 2
    assert isinstance(admit(valkey, (there, 1)), Taken)


def test_s2_17_a_hundred_an_hour_for_each_user(valkey: redis.Redis) -> None:
    """S2-17: 100 requests an hour for each user."""
    ann = applied(100, ANN, per="hour", scope=(("user", "*"),))
    granted = [isinstance(admit(valkey, (ann, 1), at_s=AT_S + 30 * n), Taken) for n in range(110)]
    assert granted == [True] * 100 + [False] * 10
    assert isinstance(admit(valkey, (ann, 1), at_s=AT_S + 3_660), Taken)


def test_no_double_burst_fits_around_the_edge_of_a_minute(valkey: redis.Redis) -> None:
    edge = AT_S - AT_S % 60 + 60
    limit = applied(10)
    assert all(isinstance(admit(valkey, (limit, 1), at_s=edge - 1), Taken) for _ in range(10))
    assert isinstance(admit(valkey, (limit, 1), at_s=edge), Exceeded)


def test_a_refusal_says_when_it_fits_and_that_is_so(valkey: redis.Redis) -> None:
    limit = applied(100, unit="tokens")
    for second, amount in ((0, 40), (10, 40), (20, 20)):
        admit(valkey, (limit, amount), at_s=AT_S + second)
    refused = admit(valkey, (limit, 60), at_s=AT_S + 30)
    assert refused == Exceeded(0, 100, 100, 41)
    assert isinstance(admit(valkey, (limit, 60), at_s=AT_S + 30 + 40), Exceeded)
    assert isinstance(admit(valkey, (limit, 60), at_s=AT_S + 30 + 41), Taken)


def test_what_is_more_than_the_limit_never_fits(valkey: redis.Redis) -> None:
    assert admit(valkey, (applied(100, unit="tokens"), 101)) == Exceeded(0, 0, 100, None)
    assert admit(valkey, (applied(0), 1)) == Exceeded(0, 0, 0, None)


def test_settling_leaves_what_was_used_in_the_step_in_which_it_was_taken(valkey: redis.Redis) -> None:
    limit = applied(100, unit="tokens")
    admit(valkey, (limit, 90))
    assert settle(valkey, (limit, -60)) == 1
    assert counted(valkey, limit) == 30
    assert isinstance(admit(valkey, (limit, 70), at_s=AT_S + 59), Taken)
    assert isinstance(admit(valkey, (limit, 30), at_s=AT_S + 61), Taken)
    assert settle(valkey, (limit, 50), taken_at_s=AT_S + 61) == 1
    assert counted(valkey, limit) == 70 + 80
    assert isinstance(admit(valkey, (limit, 1), at_s=AT_S + 62), Exceeded)


def test_a_settlement_of_what_has_left_or_was_lost_changes_nothing(valkey: redis.Redis) -> None:
    limit = applied(100, unit="tokens")
    admit(valkey, (limit, 90))
    admit(valkey, (limit, 5), at_s=AT_S + 100)
    assert settle(valkey, (limit, -60)) == 0
    assert counted(valkey, limit) == 5
    valkey.flushall()
    admit(valkey, (limit, 5))
    assert settle(valkey, (limit, -60)) == 1
    assert counted(valkey, limit) == 0


def test_a_settlement_that_finds_nothing_but_a_call_of_no_tokens_takes_nothing(valkey: redis.Redis) -> None:
    limit = applied(100, unit="tokens")
    admit(valkey, (limit, 0))
    settle(valkey, (limit, -60))
    assert counted(valkey, limit) == 0


def test_a_clock_put_back_gives_nothing_away(valkey: redis.Redis) -> None:
    limit = applied(2)
    admit(valkey, (limit, 1), at_s=AT_S + 500)
    admit(valkey, (limit, 1))
    assert isinstance(admit(valkey, (limit, 1), at_s=AT_S + 70), Exceeded)
    assert isinstance(admit(valkey, (limit, 1), at_s=AT_S + 562), Taken)


def test_calls_at_once_hold_a_place_until_they_end(valkey: redis.Redis) -> None:
    limit = applied(2, unit="concurrent", per="")
    assert isinstance(admit(valkey, (limit, 1), member="g:1"), Taken)
    assert isinstance(admit(valkey, (limit, 1), member="g:2"), Taken)
    assert admit(valkey, (limit, 1), member="g:3") == Exceeded(0, 2, 2, 1)
    assert settle(valkey, (limit, 0), member="g:1") == 1
    assert isinstance(admit(valkey, (limit, 1), member="g:3"), Taken)


def test_the_places_of_a_dead_gateway_come_back_and_a_living_one_keeps_its_own(valkey: redis.Redis) -> None:
    limit = applied(2, unit="concurrent", per="")
    now_s = int(valkey.time()[0])
    admit(valkey, (limit, 1), at_s=now_s - 45, member="dead:1")
    admit(valkey, (limit, 1), at_s=now_s - 45, member="alive:1")
    assert valkey.eval(scripts.RENEW, 1, limit.key, "60", "alive:1") == 1
    assert isinstance(admit(valkey, (limit, 1), at_s=now_s + 14, member="alive:2"), Exceeded)
    assert isinstance(admit(valkey, (limit, 1), at_s=now_s + 15, member="alive:2"), Taken)
    assert isinstance(admit(valkey, (limit, 1), at_s=now_s + 15, member="alive:3"), Exceeded)


def test_amounts_past_what_lua_formats_stay_exact(valkey: redis.Redis) -> None:
    limit = applied(10**13, unit="tokens", per="day")
    assert admit(valkey, (limit, 10**13 - 1)) == Taken(AT_S, (1,), (300 - AT_S % 300 + DAY_S,))
    settle(valkey, (limit, 9 * 10**14))
    admit(valkey, (limit, 1), at_s=AT_S + 2 * DAY_S)
    assert counted(valkey, limit) == 1


Moves = st.lists(
    st.tuples(st.integers(0, 25), st.integers(1, 6), st.one_of(st.none(), st.integers(0, 8))), min_size=1, max_size=60
)


@settings(max_examples=80, deadline=None)
@given(moves=Moves, limit=st.integers(1, 12))
def test_in_no_window_is_more_than_the_limit_and_nothing_is_refused_for_what_left(
    valkey: redis.Redis, moves: list[tuple[int, int, int | None]], limit: int
) -> None:
    """Any sequence of calls and settlements: a model that remembers each of them says the same."""
    valkey.flushall()
    applies = applied(limit, unit="tokens")
    now_s, taken = AT_S, list[tuple[int, int]]()
    for passed_s, amount, actual in moves:
        now_s += passed_s
        used = sum(held for at_s, held in taken if at_s >= now_s - 60)
        outcome = admit(valkey, (applies, amount), at_s=now_s)
        assert isinstance(outcome, Taken) == (used + amount <= limit)
        if isinstance(outcome, Exceeded):
            assert outcome.used == used
            continue
        assert outcome.left == (limit - used - amount,)
        if actual is not None:
            settle(valkey, (applies, actual - amount), taken_at_s=now_s)
        taken.append((now_s, amount if actual is None else actual))
        assert counted(valkey, applies) == used + taken[-1][1]


AGAIN = f"""
local now_s = tonumber(ARGV[1])
local k, a, reply = 0, 1, {{1}}
{scripts.UNDO}
{scripts.ASK}
{scripts.TAKE}
return reply
"""


@pytest.mark.parametrize("off_s", [-1, 0, 1])  # the gateway's seconds are not the server's
@pytest.mark.parametrize("later_s", [0, 1, 3])
def test_who_asks_again_takes_once_and_whoever_was_not_let_in_takes_then(
    valkey: redis.Redis, later_s: int, off_s: int
) -> None:
    asked = (
        (applied(5, id=1), 1),
        (applied(90, id=2, unit="tokens"), 60),
        (applied(1, id=3, unit="concurrent", per=""), 1),
    )
    keys, args = admission.ask(asked, "gateway-1:a")

    def again(attempt: str, ago_s: int) -> Any:
        return valkey.eval(AGAIN, len(keys) + 1, *keys, "hold", AT_S + later_s, *args, attempt, max(ago_s + off_s, 0))

    def seen() -> tuple[Any, ...]:
        return counted(valkey, asked[0][0]), counted(valkey, asked[1][0]), valkey.zcard(keys[2])

    assert isinstance(admit(valkey, *asked), Taken)
    valkey.hset("hold", "a1", "h1:")
    for ago_s in (later_s, 0):
        assert again("a1", ago_s)[0] == 1
        assert seen() == (1, 60, 1)
    refused = again("b2", 0)
    assert admission.is_exceeded(refused)
    assert refused[2] == 1
    assert seen() == (1, 60, 1)


CALLERS = """
import sys
from concurrent.futures import ThreadPoolExecutor
import redis
from llmobs.limits.admission import Taken
from tests.limits.made import admit, applied
url, calls = sys.argv[1], int(sys.argv[2])
with redis.Redis.from_url(url) as client, ThreadPoolExecutor(25) as pool:
    limits = ((applied(100, id=1, per="day"), 1), (applied(1000, id=2, unit="tokens", per="day"), 7))
    granted = pool.map(lambda n: isinstance(admit(client, *limits, at_s=None), Taken), range(calls))
    print(sum(granted))
"""


def test_s0_04_of_four_processes_and_200_callers_exactly_as_many_as_the_limit_get_through(
    valkey: redis.Redis, valkey_url: str
) -> None:
    """S0-04: one authority for all gateways: four of them let exactly N of 200 through, not 4 N."""
    processes = [
        subprocess.Popen([sys.executable, "-c", CALLERS, valkey_url, "50"], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    counts = [int(process.communicate(timeout=300)[0]) for process in processes]
    assert sum(counts) == 100
    assert counted(valkey, applied(1000, id=2, unit="tokens", per="day")) == 700


def test_threads_of_one_process_get_exactly_the_limit_too(valkey: redis.Redis, valkey_url: str) -> None:
    user = applied(37, ANN, per="day", scope=(("user", "*"),))
    with redis.Redis.from_url(valkey_url) as client, ThreadPoolExecutor(32) as pool:
        granted = list(pool.map(lambda _: isinstance(admit(client, (user, 1), at_s=None), Taken), range(200)))
    assert sum(granted) == 37

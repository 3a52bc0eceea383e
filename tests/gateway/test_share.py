"""A gateway's share of the limits while Valkey is away: the same windows, a part of the limit."""

from gateway.over_limit import duration
from gateway.share import MOST_WINDOWS, Share
from llmobs.limits.admission import Exceeded, Taken
from llmobs.limits.definition import AppliedLimit
from llmobs.tenants.attribution import Attribution
from tests.limits.made import AT_S, applied


def take(share: Share, limit: AppliedLimit, amount: int = 1, gateways: int = 4, at_s: int = AT_S) -> Taken | Exceeded:
    return share.take([(limit, amount)], [0], gateways, at_s)


def test_four_gateways_let_a_quarter_through_each_and_the_window_slides() -> None:
    share, limit = Share(), applied(40)
    assert [isinstance(take(share, limit), Taken) for _ in range(12)] == [True] * 10 + [False] * 2
    assert take(share, limit) == Exceeded(0, 10, 10, 61)
    assert isinstance(take(share, limit, at_s=AT_S + 60), Exceeded)
    assert isinstance(take(share, limit, at_s=AT_S + 61), Taken)


def test_a_small_limit_still_lets_one_through_and_none_stays_none() -> None:
    assert isinstance(take(Share(), applied(1)), Taken)
    assert take(Share(), applied(0)) == Exceeded(0, 0, 0, None)


def test_all_limits_of_a_call_are_taken_or_none() -> None:
    share, wide, narrow = Share(), applied(100, id=1), applied(8, id=2, unit="tokens")
    assert share.take([(wide, 1), (narrow, 5)], [0, 0], 4, AT_S) == Exceeded(1, 0, 2, None)
    assert take(share, wide) == Taken(AT_S, (24,), (61,))


def test_tokens_are_settled_and_calls_at_once_are_counted() -> None:
    share, tokens = Share(), applied(400, unit="tokens")
    assert isinstance(take(share, tokens, 100), Taken)
    share.settle(AT_S, [(tokens, -90)])
    assert take(share, tokens, 90) == Taken(AT_S, (0,), (61,))
    at_once = applied(8, unit="concurrent", per="")
    assert isinstance(share.take([(at_once, 1)], [1], 4, AT_S), Taken)
    assert share.take([(at_once, 1)], [2], 4, AT_S) == Exceeded(0, 2, 2, 1)


def test_windows_in_memory_are_bounded() -> None:
    share = Share()

    def of(number: int) -> AppliedLimit:
        return applied(4, Attribution(user_id=f"u{number}"), scope=(("user", "*"),))

    for number in range(MOST_WINDOWS + 5):
        take(share, of(number))
    assert len(share._windows) == MOST_WINDOWS
    assert isinstance(take(share, of(MOST_WINDOWS)), Exceeded)


def test_durations_are_written_as_openai_writes_them() -> None:
    assert [duration(seconds) for seconds in (1, 59, 60, 360, 3600, 86_399)] == [
        "1s", "59s", "1m0s", "6m0s", "1h0m0s", "23h59m59s",
    ]  # fmt: skip

"""Tenants have fair shares of what a gateway remembers and tells, and nothing grows without a bound."""

import random
from collections import Counter

from llmobs.brake.memory import Memory
from llmobs.brake.subject import SESSION, Subject
from llmobs.brake.watch import WATCHED_SECONDS, Suspect, Watch

NOW_S = 1_000_000_200.0  # in the midst of a window


def session(tenant_id: int, number: int) -> Subject:
    return Subject(tenant_id, SESSION, f"s-{number}", 0, 0)


def suspect(tenant_id: int, number: int, called_s: float = NOW_S) -> Suspect:
    return Suspect(session(tenant_id, number), 600, called_s)


def names(found: list[Suspect]) -> list[tuple[int, str]]:
    return [(each.subject.tenant_id, each.subject.name) for each in found]


def memory(most: int) -> tuple[Memory, list[Subject]]:
    gone: list[Subject] = []
    return Memory(most, gone.append), gone


def test_a_session_keeps_its_track() -> None:
    kept, gone = memory(3)
    track = kept.called(session(1, 1))
    kept.called(session(1, 2))
    assert kept.called(session(1, 1)) is track is kept.find(session(1, 1))
    assert (len(kept), gone, kept.find(session(2, 1))) == (2, [], None)
    assert dict(kept.of_tenant(2)) == {}


def test_the_least_recent_goes_first() -> None:
    kept, gone = memory(2)
    for number in (1, 2, 1, 3):
        kept.called(session(1, number))
    assert gone == [session(1, 2)]


def test_a_tenant_with_very_many_sessions_takes_no_others_place() -> None:
    kept, gone = memory(100)
    for number in range(20):
        kept.called(session(1, number))
    for number in range(5_000):
        kept.called(session(2, number))
    assert {subject.tenant_id for subject in gone} == {2}
    assert (len(kept), len(kept.of_tenant(1)), len(kept.of_tenant(2))) == (100, 20, 80)


def test_a_tenant_that_comes_late_gets_an_equal_part() -> None:
    kept, _ = memory(90)
    for tenant_id in (1, 2, 3):
        for number in range(500):
            kept.called(session(tenant_id, number))
    assert [len(kept.of_tenant(tenant_id)) for tenant_id in (1, 2, 3)] == [30, 30, 30]


def test_whoever_gives_up_has_the_most_whatever_comes() -> None:
    told: list[int] = []
    kept = Memory(60, lambda subject: told.append(subject.tenant_id))
    chance = random.Random(7)
    for _ in range(5_000):
        before = Counter(subject.tenant_id for subject, _ in kept)
        kept.called(session(min(9, int(chance.expovariate(0.6))), chance.randrange(40)))
        assert len(kept) <= 60
        if told:
            assert before[told.pop()] == max(before.values())
    kept.clear()
    assert (len(kept), list(kept)) == (0, [])
    kept.called(session(1, 1))
    assert len(kept) == 1


def test_a_suspect_is_told_again_until_its_time_is_over() -> None:
    watch = Watch()
    watch.called(suspect(1, 1))
    for passed in (1, 2, WATCHED_SECONDS - 1):
        assert names(watch.turn(200, NOW_S + passed)) == [(1, "s-1")]
    assert (watch.turn(200, NOW_S + WATCHED_SECONDS), len(watch)) == ([], 0)


def test_what_a_past_window_counted_is_told_once() -> None:
    """A call right before the window's end is told of after it; it is not told again as if it were of the new one."""
    watch = Watch()
    end_s = (NOW_S // 600 + 1) * 600
    watch.called(suspect(1, 1, end_s - 1))
    assert names(watch.turn(200, end_s)) == [(1, "s-1")]
    assert watch.turn(200, end_s + 1) == []


def test_tenants_take_turns() -> None:
    watch = Watch()
    for number in range(1_000):
        watch.called(suspect(1, number))
    watch.called(suspect(2, 1))
    told = [names(watch.turn(10, NOW_S + 1)) for _ in range(112)]
    assert all(second.count((2, "s-1")) == 1 for second in told)
    assert len({name for second in told for name in second if name[0] == 1}) == 1_000


def test_more_tenants_than_are_told_at_once_follow_each_other() -> None:
    watch = Watch()
    for tenant_id in range(30):
        watch.called(suspect(tenant_id, 1))
    told = [{tenant_id for tenant_id, _ in names(watch.turn(10, NOW_S + 1))} for _ in range(6)]
    assert set().union(*told[:3]) == set().union(*told[3:]) == set(range(30))


def test_who_called_goes_before_who_did_not() -> None:
    watch = Watch()
    for number in range(100):
        watch.called(suspect(1, number))
    assert len(watch.turn(100, NOW_S + 1)) == 100
    watch.called(suspect(1, 70))
    assert names(watch.turn(1, NOW_S + 2)) == [(1, "s-70")]
    assert len(watch) == 100


def test_who_is_forgotten_is_watched_no_longer() -> None:
    watch = Watch()
    kept = Memory(2, watch.discard)
    for number in (1, 2, 3):
        kept.called(session(1, number))
        watch.called(suspect(1, number))
    assert names(watch.turn(200, NOW_S + 1)) == [(1, "s-2"), (1, "s-3")]
    kept.clear()
    assert len(watch) == 0

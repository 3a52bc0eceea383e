"""What gateways tell each other of a session, on a real Valkey."""

import time

import redis

from llmobs.brake.board import SHARE, Pause, key, read, share
from llmobs.brake.track import Sums

KEY = key(1, "mark")


def tell(valkey: redis.Redis, owner: str, counted: Sums, pause: Pause | None = None) -> tuple[Sums, Pause | None]:
    return read(valkey.eval(SHARE, 1, KEY, *share(owner, counted, pause, 600, time.time())))


def test_each_hears_what_the_others_counted(valkey: redis.Redis) -> None:
    assert tell(valkey, "a", Sums(calls=4, alike=3, cost_nanousd=7)) == (Sums(), None)
    tell(valkey, "b", Sums(calls=2, same=1, cost_nanousd=5))
    assert tell(valkey, "c", Sums(calls=9)) == (Sums(calls=6, alike=4, cost_nanousd=12), None)
    assert tell(valkey, "a", Sums()) == (Sums(calls=11, alike=1, cost_nanousd=5), None)


def test_the_first_pause_holds_until_it_has_ended(valkey: redis.Redis) -> None:
    now_s = int(time.time())
    first, other = Pause("first", now_s + 100, "seen here"), Pause("other", now_s + 200, "seen there")
    assert tell(valkey, "a", Sums(), first)[1] == first
    assert tell(valkey, "b", Sums(), other)[1] == first
    ended = first._replace(until_s=now_s - 1)
    valkey.hset(KEY, "#", f"{ended.id} {ended.until_s} {ended.told}")
    assert tell(valkey, "b", Sums(), other)[1] == other

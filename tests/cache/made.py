"""The cache's section as a script of its own, and calls made of it: ask, then store, as a gateway does."""

import secrets
from collections.abc import Sequence
from typing import Any

import redis

from llmobs.cache import store
from llmobs.cache.scripts import ASK, LAND, STALE, STORE, TAKE
from llmobs.cache.store import Asking, Flying, Found, Stored, names_of

ADMIT_ALONE = f"""
local time = redis.call('TIME')
local now_s, now_us = tonumber(time[1]), tonumber(time[2])
local k, a, reply = 0, 0, {{1}}
{ASK}
{TAKE}
return reply
"""


def asking(tenant_id: int = 1, digest: str = "d", **fields: Any) -> Asking:
    given = {
        "ttl_seconds": 3600,
        "names": names_of(["m"], "chat", "greet@3", ["a"]),
        "token": secrets.token_hex(4),
        "lease_ms": 10_000,
    }
    return Asking(tenant_id, digest, **{**given, **fields})


def run(valkey: redis.Redis, script: str, words: tuple[Sequence[Any], Sequence[Any]]) -> Any:
    keys, args = words
    return valkey.eval(script, len(keys), *keys, *args)


def ask(valkey: redis.Redis, asked: Asking) -> Found | Flying | list[bytes]:
    """What the cache has; without an answer the generations as they are."""
    reply = run(valkey, ADMIT_ALONE, store.section(asked))
    if reply[0] == 2:
        return store.parse_hit(reply)
    values: list[bytes] = reply[1]
    return values


def keep(
    valkey: redis.Redis, asked: Asking, blob: bytes, values: list[bytes] | None = None, most_bytes: int = 2**20
) -> bool:
    """Store an answer as the call's end does; whether it was kept."""
    if values is None:
        found = ask(valkey, asked)
        assert isinstance(found, list), found
        values = found
    stored = Stored(asked.names, values, blob, asked.ttl_seconds, most_bytes, saved_tokens=7, saved_nanousd=900)
    return bool(run(valkey, STORE, store.store(asked, stored)) == [1])


def land(valkey: redis.Redis, asked: Asking) -> bool:
    return bool(run(valkey, LAND, store.land(asked)) == [1])


def stale(valkey: redis.Redis, asked: Asking) -> tuple[bytes, int] | None:
    return store.parse_stale(run(valkey, STALE, store.stale(asked)))


def blob_of(found: object) -> bytes | None:
    return found.blob if isinstance(found, Found) else None


def grow_older(valkey: redis.Redis, asked: Asking, seconds: int) -> None:
    """As if the entry had been stored so much earlier."""
    valkey.hincrby(store.entry_key(asked.tenant_id, asked.digest), "at", -seconds)

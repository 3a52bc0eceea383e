"""What the web does with the cache: look at its books, and forget. Valkey's errors are the caller's to answer."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmobs.cache import store
from llmobs.cache.scripts import INVALIDATE, SWEEP

MOST_NAMES = 10_000  # generations kept of one tenant; beyond, all is forgotten at once
SWEPT_AT_ONCE = 500  # entries taken away in one script, a millisecond or so


class Client(Protocol):
    """What we need of redis-py's client."""

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any: ...
    def pipeline(self, transaction: bool = True) -> Any: ...


@dataclass(frozen=True, slots=True)
class Books:
    """A tenant's cache as it stands. All of it rests in Valkey and is lost with it; spans keep the lasting record."""

    entries: int
    bytes: int
    hits: int
    misses: int
    saved_tokens: int
    saved_nanousd: int


def books(client: Client, tenant_ids: Sequence[int]) -> list[Books]:
    """The books of each tenant, in one round trip."""
    pipeline = client.pipeline(transaction=False)
    for tenant_id in tenant_ids:
        pipeline.zcard(store.used_key(tenant_id))
        pipeline.hget(store.sizes_key(tenant_id), "total")
        pipeline.hmget(store.counts_key(tenant_id), "hits", "misses", "saved_tokens", "saved_nanousd")
    replies = pipeline.execute()
    return [_books(replies[at : at + 3]) for at in range(0, len(replies), 3)]


def _books(replies: Sequence[Any]) -> Books:
    entries, total, counts = replies
    return Books(int(entries), int(total or 0), *(int(count or 0) for count in counts))


def invalidate(client: Client, tenant_id: int, names: Iterable[str]) -> None:
    """Forget every entry that names one of these (`store.name`), in one step whatever their number."""
    client.eval(INVALIDATE, 1, store.generations_key(tenant_id), secrets.token_hex(8), str(MOST_NAMES), *names)


def empty(client: Client, tenant_id: int) -> int:
    """Forget all of a tenant's entries at once, then give their memory back; how many there were."""
    invalidate(client, tenant_id, [store.TENANT])
    keys = store.used_key(tenant_id), store.sizes_key(tenant_id)
    left = books(client, [tenant_id])[0].entries
    swept = 0
    while swept < left:  # what is stored meanwhile may go with them, and is not waited for
        (popped,) = client.eval(SWEEP, 2, *keys, str(SWEPT_AT_ONCE), store.entry_key(tenant_id, ""))
        if not popped:
            break
        swept += int(popped)
    return swept

"""The exact response cache in Valkey: entries per tenant, the least recently used forgotten first.

This module knows keys, arguments and replies and does no I/O; the scripts are in `cache/scripts.py`.

1. A call's admission script asks (ASK): a fresh entry is the answer, and nothing else of the call is asked or taken.
2. Without one, the call marks its flight (TAKE), so that no other gateway sends the same request meanwhile, and
   remembers the generations as they are now.
3. A good answer is stored with those generations (STORE), unless one has changed since; the mark goes (LAND).
4. An entry counts only as long as the generations it was written under are still the tenant's: changing one field of
   the tenant's generations forgets every entry that names it, in one step, however many there are. A generation is a
   nonce, and the tenant's own is made anew when it is missing: where the server has evicted or lost the generations,
   all entries are forgotten, none comes back.

Keys carry the tenant as hash tag. The server may evict any of them at any time: a missing entry is a miss, missing
books (`used` and `sizes`) begin anew. Entries expire by themselves a day after their time: until then they are for
emergencies alone (STALE).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

STALE_SECONDS = 86_400  # how long past its time an entry stays, for emergencies
MOST_ENTRY_BYTES = 1024 * 1024  # of one answer
OVERHEAD_BYTES = 512  # of an entry beside its blob: its hash, and its places in the books
MOST_TAGS = 16
MOST_TAG_CHARACTERS = 100

TENANT = "tenant"  # the generation that every entry names

LOOK, REFRESH, ALONE = "look", "refresh", "alone"


def entry_key(tenant_id: int, digest: str) -> str:
    """Where one answer rests."""
    return f"llm:{{{tenant_id}}}:{digest}"


def used_key(tenant_id: int) -> str:
    """Entries by their last use (seconds)."""
    return f"cache:{{{tenant_id}}}:used"


def sizes_key(tenant_id: int) -> str:
    """Bytes of each entry, and of all as `total`."""
    return f"cache:{{{tenant_id}}}:sizes"


def generations_key(tenant_id: int) -> str:
    """A nonce per name that was ever invalidated, and the tenant's own."""
    return f"cache:{{{tenant_id}}}:generations"


def counts_key(tenant_id: int) -> str:
    """Hits, misses, saved tokens and nano-USD since the server has them."""
    return f"cache:{{{tenant_id}}}:counts"


def flight_key(tenant_id: int, digest: str) -> str:
    """There while a gateway has sent this request upstream."""
    return f"cache:{{{tenant_id}}}:flight:{digest}"


# ---------------------------------------------------------------- names of generations


def name(kind: str, value: str) -> str:
    """What an entry can be forgotten by: a model, prompt, feature or tag. One line, as the scripts keep them."""
    return f"{kind}:{value}".replace("\n", " ")


def names_of(models: Iterable[str], feature: str, prompt_version: str, tags: Iterable[str]) -> tuple[str, ...]:
    """All generations that an answer depends on, the tenant's first. `prompt_version`: "name@3", or ""."""
    found = [TENANT, *(name("model", model) for model in models)]
    if feature:
        found.append(name("feature", feature))
    if prompt_version:
        found += [name("prompt", prompt_version.partition("@")[0]), name("prompt", prompt_version)]
    return tuple(dict.fromkeys([*found, *(name("tag", tag) for tag in tags)]))


def tags_of(header: str) -> tuple[str, ...]:
    """The tags of `x-llmobs-cache-tags: a, b`. Raises ValueError where there are too many, or one is too long."""
    tags = tuple(tag for part in header.split(",") if (tag := part.strip()))
    if len(tags) > MOST_TAGS or any(len(tag) > MOST_TAG_CHARACTERS for tag in tags):
        raise ValueError(f"x-llmobs-cache-tags takes up to {MOST_TAGS} tags of {MOST_TAG_CHARACTERS} characters")
    return tags


# ---------------------------------------------------------------- arguments and replies


@dataclass(slots=True)
class Asking:
    """One look-up: what is asked of the cache for one call."""

    tenant_id: int
    digest: str
    ttl_seconds: int
    names: tuple[str, ...]
    token: str  # names the call's flight
    lease_ms: int
    mode: str = LOOK  # or REFRESH: no look-up; ALONE: a look-up, but no waiting for others and no mark


NOTHING_ASKED: tuple[Sequence[str], Sequence[str]] = ((), ("0",))


def section(asking: Asking | None) -> tuple[Sequence[str], Sequence[str]]:
    """Keys and arguments of the cache's section of the admission script."""
    if asking is None:
        return NOTHING_ASKED
    tenant_id, digest = asking.tenant_id, asking.digest
    keys = (
        entry_key(tenant_id, digest),
        used_key(tenant_id),
        generations_key(tenant_id),
        counts_key(tenant_id),
        flight_key(tenant_id, digest),
    )
    args = (asking.mode, digest, str(asking.ttl_seconds), asking.token, str(asking.lease_ms), str(len(asking.names)))
    return keys, args + asking.names


@dataclass(frozen=True, slots=True)
class Found:
    """A fresh entry."""

    blob: bytes
    age_seconds: int
    left_seconds: int


@dataclass(frozen=True, slots=True)
class Flying:
    """Another gateway has sent the same request and waits for its answer."""


def parse_hit(reply: Sequence[Any]) -> Found | Flying:
    """What a reply that begins with 2, "c" says."""
    if len(reply) == 2:
        return Flying()
    return Found(bytes(reply[2]), int(reply[3]), int(reply[4]))


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer on its way into the cache. `values`: the generations as they were when the call was asked about."""

    names: Sequence[str]
    values: Sequence[bytes]
    blob: bytes
    ttl_seconds: int
    most_bytes: int
    saved_tokens: int
    saved_nanousd: int


def store(asking: Asking, stored: Stored) -> tuple[Sequence[str], Sequence[str | bytes]]:
    """Keys and arguments of STORE. Names and values go in step."""
    tenant_id, digest = asking.tenant_id, asking.digest
    keys = (
        entry_key(tenant_id, digest),
        used_key(tenant_id),
        sizes_key(tenant_id),
        generations_key(tenant_id),
        flight_key(tenant_id, digest),
    )
    args: list[str | bytes] = [
        digest,
        asking.token,
        stored.blob,
        str(len(stored.blob) + OVERHEAD_BYTES),
        str(stored.ttl_seconds),
        str(stored.ttl_seconds + STALE_SECONDS),
        str(stored.most_bytes),
        str(stored.saved_tokens),
        str(stored.saved_nanousd),
        entry_key(tenant_id, ""),
        "\n".join(stored.names),
        *stored.values,
    ]
    return keys, args


def land(asking: Asking) -> tuple[Sequence[str], Sequence[str]]:
    """Keys and arguments of LAND: the call's own mark goes, another's stays."""
    return (flight_key(asking.tenant_id, asking.digest),), (asking.token,)


def renew(asking: Asking) -> tuple[Sequence[str], Sequence[str]]:
    """Keys and arguments of RENEW."""
    return (flight_key(asking.tenant_id, asking.digest),), (asking.token, str(asking.lease_ms))


def stale(asking: Asking) -> tuple[Sequence[str], Sequence[str]]:
    """Keys and arguments of STALE: what is kept of this request, past its time too, but not once invalidated."""
    return (entry_key(asking.tenant_id, asking.digest), generations_key(asking.tenant_id)), ()


def parse_stale(reply: Sequence[Any]) -> tuple[bytes, int] | None:
    """Blob and age in seconds."""
    return (bytes(reply[0]), int(reply[1])) if reply else None


def count_hit(asking: Asking, saved_tokens: int, saved_nanousd: int) -> tuple[Sequence[str], Sequence[str]]:
    """Keys and arguments of COUNT: a hit that the server was not asked for."""
    return (counts_key(asking.tenant_id),), (str(saved_tokens), str(saved_nanousd))

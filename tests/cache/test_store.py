"""The cache in a real Valkey: look-up, time to live, memory, invalidation, flights; and tenants apart, by a model."""

import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from llmobs.cache import status, store
from llmobs.cache.store import ALONE, REFRESH, TENANT, Flying, Found
from tests.cache.made import ask, asking, blob_of, grow_older, keep, land, stale


def test_an_answer_that_was_kept_is_found(valkey: redis.Redis) -> None:
    """S0-12, S0-10: the stored answer to the same input."""
    assert keep(valkey, asking(), b"answer")
    found = ask(valkey, asking())
    assert isinstance(found, Found)
    assert (found.blob, found.age_seconds <= 1, found.left_seconds >= 3598) == (b"answer", True, True)


def test_the_key_begins_with_llm_and_names_the_tenant() -> None:
    """S0-13: prefixed llm:, the tenant in the key by construction."""
    assert store.entry_key(7, "abc") == "llm:{7}:abc"


def test_it_expires_with_its_time_to_live(valkey: redis.Redis) -> None:
    """S0-14, S2-10, S4-11: the time to live is set with the value."""
    keep(valkey, asking(), b"answer")
    grow_older(valkey, asking(), 3599)
    assert blob_of(ask(valkey, asking())) == b"answer"
    grow_older(valkey, asking(), 2)
    assert isinstance(ask(valkey, asking()), list)
    assert 86_400 < valkey.ttl(store.entry_key(1, "d")) <= 3600 + 86_400


def test_the_shorter_time_counts_of_what_was_stored_and_what_is_asked(valkey: redis.Redis) -> None:
    """S0-48: in doubt shorter."""
    keep(valkey, asking(ttl_seconds=172_800), b"answer")
    grow_older(valkey, asking(), 100)
    assert isinstance(ask(valkey, asking(ttl_seconds=60)), list)
    assert blob_of(ask(valkey, asking(ttl_seconds=101, mode=ALONE))) == b"answer"


def test_a_refresh_does_not_look_and_stores(valkey: redis.Redis) -> None:
    """S2-10: use of the cache is the request's choice."""
    keep(valkey, asking(), b"old")
    assert keep(valkey, asking(mode=REFRESH), b"new")
    assert blob_of(ask(valkey, asking())) == b"new"


def test_each_name_forgets_what_bears_it_and_nothing_else(valkey: redis.Redis) -> None:
    """S4-12, S4-26, S4-11: invalidation by tenant, model, prompt, prompt version, feature or tag, by one call."""
    for name in (TENANT, "model:m", "prompt:greet", "prompt:greet@3", "feature:chat", "tag:a"):
        valkey.flushall()
        keep(valkey, asking(), b"answer")
        keep(valkey, asking(digest="other", names=(TENANT, "model:x")), b"other")
        keep(valkey, asking(tenant_id=2), b"another tenant's")

        status.invalidate(valkey, 1, [name])

        assert isinstance(ask(valkey, asking(mode=ALONE)), list), name
        assert blob_of(ask(valkey, asking(digest="other", mode=ALONE))) == (None if name == TENANT else b"other")
        assert blob_of(ask(valkey, asking(tenant_id=2))) == b"another tenant's"


def test_an_answer_to_what_was_asked_before_the_invalidation_is_not_kept(valkey: redis.Redis) -> None:
    """S4-26: a call that runs while its prompt is upgraded stores nothing of the old one."""
    asked = asking()
    values = ask(valkey, asked)
    assert isinstance(values, list)
    status.invalidate(valkey, 1, ["prompt:greet"])
    assert not keep(valkey, asked, b"old prompt's", values)
    assert keep(valkey, asking(), b"new")


def test_generations_that_the_server_lost_forget_all_and_bring_nothing_back(valkey: redis.Redis) -> None:
    keep(valkey, asking(), b"before")
    status.invalidate(valkey, 1, ["tag:a"])
    valkey.delete(store.generations_key(1))
    assert isinstance(ask(valkey, asking(mode=ALONE)), list)
    assert stale(valkey, asking()) is None


def test_more_names_than_are_kept_forget_all(valkey: redis.Redis) -> None:
    keep(valkey, asking(), b"answer")
    names = [f"tag:{n}" for n in range(status.MOST_NAMES)]
    for first in range(0, len(names), 5000):
        status.invalidate(valkey, 1, names[first : first + 5000])
    status.invalidate(valkey, 1, ["tag:one more"])
    assert isinstance(ask(valkey, asking(mode=ALONE)), list)
    assert valkey.hlen(store.generations_key(1)) <= status.MOST_NAMES


def test_the_least_recently_used_make_room(valkey: redis.Redis) -> None:
    """S4-11: LRU by memory."""
    most = 3 * (1000 + store.OVERHEAD_BYTES)
    for digest in "abc":
        assert keep(valkey, asking(digest=digest), digest.encode() * 1000, most_bytes=most)
    assert blob_of(ask(valkey, asking(digest="a")))  # used again: b is the oldest now

    assert keep(valkey, asking(digest="d"), b"d" * 1000, most_bytes=most)

    kept = [digest for digest in "abcd" if isinstance(ask(valkey, asking(digest=digest, mode=ALONE)), Found)]
    assert kept == ["a", "c", "d"]
    assert status.books(valkey, [1])[0].bytes == most


def test_what_is_larger_than_all_is_not_kept(valkey: redis.Redis) -> None:
    assert not keep(valkey, asking(), b"x" * 3000, most_bytes=2000)
    assert valkey.exists(store.entry_key(1, "d")) == 0


def test_books_that_the_server_evicted_begin_anew(valkey: redis.Redis) -> None:
    for digest in "abc":
        keep(valkey, asking(digest=digest), b"x" * 1000)
    valkey.delete(store.used_key(1))
    assert keep(valkey, asking(digest="d"), b"x" * 1000)
    books = status.books(valkey, [1])[0]
    assert (books.entries, books.bytes) == (1, 1000 + store.OVERHEAD_BYTES)


def test_an_answer_stored_again_counts_once(valkey: redis.Redis) -> None:
    for size in (1000, 500):
        keep(valkey, asking(mode=REFRESH), b"x" * size)
    books = status.books(valkey, [1])[0]
    assert (books.entries, books.bytes) == (1, 500 + store.OVERHEAD_BYTES)


def test_hits_misses_and_savings_are_counted(valkey: redis.Redis) -> None:
    """S3-30, S3-26: hit rate and savings can be told."""
    keep(valkey, asking(), b"answer")
    for _ in range(3):
        ask(valkey, asking())
    books = status.books(valkey, [1, 2])
    assert (books[0].hits, books[0].misses, books[0].saved_tokens, books[0].saved_nanousd) == (3, 1, 21, 2700)
    assert books[1] == status.Books(0, 0, 0, 0, 0, 0)


def test_emptying_forgets_and_gives_the_memory_back(valkey: redis.Redis) -> None:
    for digest in "abc":
        keep(valkey, asking(digest=digest), b"answer")
    assert status.empty(valkey, 1) == 3
    books = status.books(valkey, [1])[0]
    assert (books.entries, books.bytes, list(valkey.scan_iter("llm:*"))) == (0, 0, [])


def test_of_two_that_ask_at_once_one_flies(valkey: redis.Redis) -> None:
    """S2-44: a redundant request in flight is found."""
    first, second = asking(), asking()
    assert isinstance(ask(valkey, first), list)
    assert isinstance(ask(valkey, second), Flying)
    assert isinstance(ask(valkey, first), list), "asked again, its own mark is no other's"
    assert not land(valkey, second)
    assert land(valkey, first)
    assert isinstance(ask(valkey, second), list)


def test_a_stored_answer_ends_the_flight(valkey: redis.Redis) -> None:
    keep(valkey, asking(), b"answer")
    assert blob_of(ask(valkey, asking())) == b"answer"
    assert valkey.exists(store.flight_key(1, "d")) == 0


def test_a_mark_lapses_with_its_lease(valkey: redis.Redis) -> None:
    ask(valkey, asking(lease_ms=1))
    while valkey.exists(store.flight_key(1, "d")):
        pass
    assert isinstance(ask(valkey, asking()), list)


def test_an_emergency_takes_what_is_past_its_time_but_not_what_was_invalidated(valkey: redis.Redis) -> None:
    """S3-11: the best cached answer when nobody answers."""
    keep(valkey, asking(), b"answer")
    grow_older(valkey, asking(), 7200)
    found = stale(valkey, asking())
    assert found is not None
    assert (found[0], 7200 <= found[1] <= 7202) == (b"answer", True)
    status.invalidate(valkey, 1, ["model:m"])
    assert stale(valkey, asking()) is None


_steps = st.lists(
    st.tuples(
        st.sampled_from(["ask", "keep", "refresh", "forget", "forget all"]),
        st.integers(1, 3),  # tenant
        st.sampled_from("abc"),  # request
        st.sampled_from(["x", "y"]),  # tag
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(_steps)
def test_no_tenant_ever_gets_anothers_answer(valkey: redis.Redis, steps: list[tuple[str, int, str, str]]) -> None:
    """S4-11, trap: tenants apart, against a model that is a dict for each tenant."""
    valkey.flushall()
    model: dict[tuple[int, str], tuple[bytes, str]] = {}
    for number, (step, tenant, digest, tag) in enumerate(steps):
        asked = asking(tenant, digest, names=(TENANT, f"tag:{tag}"), mode=REFRESH if step == "refresh" else ALONE)
        if step == "forget":
            status.invalidate(valkey, tenant, [f"tag:{tag}"])
            model = {at: kept for at, kept in model.items() if at[0] != tenant or kept[1] != tag}
        elif step == "forget all":
            status.empty(valkey, tenant)
            model = {at: kept for at, kept in model.items() if at[0] != tenant}
        elif step == "ask" or (step == "keep" and (tenant, digest) in model):
            expected = model.get((tenant, digest))
            assert blob_of(ask(valkey, asked)) == (expected[0] if expected else None)
        else:
            blob = f"{tenant}/{digest}/{number}".encode()
            assert keep(valkey, asked, blob)
            model[tenant, digest] = (blob, tag)

"""The cache over REST: its books, invalidation, settings; each tried as the stranger too."""

from typing import Any

import pytest
import redis

from llmobs.cache import connection
from llmobs.cache.store import Found
from llmobs.tenants.models import AuditEntry, Key, Tenant
from tests.cache.made import ask, asking, blob_of, keep
from tests.tenants.cast import Cast, as_person, assert_problem, make_cast, make_key, with_key

API = "/api/v1/cache"


@pytest.fixture
def cast(db: None, valkey: redis.Redis) -> Cast:
    return make_cast()


def kept(valkey: redis.Redis, tenant: Tenant) -> bool:
    return isinstance(ask(valkey, asking(tenant.pk, mode="alone")), Found)


def fill(valkey: redis.Redis, cast: Cast) -> None:
    for tenant in (cast.acme, cast.globex):
        keep(valkey, asking(tenant.pk), b"answer")


def test_a_tenants_key_sees_what_its_cache_holds_and_saved(cast: Cast, valkey: redis.Redis) -> None:
    """S3-30: hit rate, S0-18, S3-26: savings."""
    fill(valkey, cast)
    ask(valkey, asking(cast.acme.pk))
    (shown,) = with_key("acme").get(f"{API}/").json()["results"]
    assert (shown["tenant"], shown["mode"], shown["entries"]) == ("acme", "off", 1)
    assert (shown["hits"], shown["misses"], shown["hit_rate"]) == (1, 1, 0.5)
    assert (shown["saved_tokens"], shown["saved_usd"], shown["most_bytes"]) == (7, "0.0000009", 67_108_864)


def test_an_operator_sees_all_and_narrows(cast: Cast) -> None:
    make_key(None, "root", "operator")
    client = with_key("operator")
    assert [row["tenant"] for row in client.get(f"{API}/").json()["results"]] == ["acme", "globex"]
    assert [row["tenant"] for row in client.get(f"{API}/?tenant=globex").json()["results"]] == ["globex"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"all": True}, ["tenant"]),
        ({"model": "m"}, ["model:m"]),
        ({"prompt": "greet"}, ["prompt:greet"]),
        ({"prompt": ["greet@3"]}, ["prompt:greet@3"]),
        ({"feature": "chat", "tag": ["z", "y"]}, ["feature:chat", "tag:z", "tag:y"]),
        ({"tag": "a"}, ["tag:a"]),
    ],
)
def test_one_call_forgets_by_any_name(cast: Cast, valkey: redis.Redis, body: dict[str, Any], named: list[str]) -> None:
    """S4-12, S4-26: every cache can be invalidated, in bulk."""
    fill(valkey, cast)
    answer = with_key("acme").post(f"{API}/invalidate/", body, format="json")
    assert (answer.status_code, answer.json()) == (200, {"tenant": "acme", "invalidated": named})
    assert not kept(valkey, cast.acme)
    assert kept(valkey, cast.globex)
    entry = AuditEntry.objects.get(action="invalidate")
    assert (entry.tenant, entry.actor, entry.change) == (cast.acme, "key acme/prod", {"cache": [named, None]})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "Say what to forget"),
        ({"all": False}, "Say what to forget"),
        ({"colour": "red"}, "colour"),
        ({"tag": ["t"] * 101}, "At most 100"),
        ({"tag": {"a": 1}}, "tag"),
        (["all"], "Invalid data"),
    ],
)
def test_what_says_nothing_to_forget_is_refused(cast: Cast, valkey: redis.Redis, body: Any, said: str) -> None:
    fill(valkey, cast)
    assert said in str(assert_problem(with_key("acme").post(f"{API}/invalidate/", body, format="json"), 400))
    assert kept(valkey, cast.acme)


def test_a_stranger_forgets_nothing_of_others(cast: Cast, valkey: redis.Redis) -> None:
    fill(valkey, cast)
    assert_problem(with_key("globex").post(f"{API}/invalidate/?tenant=acme", {"all": True}, format="json"), 404)
    assert_problem(as_person(cast.charlie).post(f"{API}/invalidate/?tenant=acme", {"all": True}, format="json"), 404)
    assert_problem(as_person(cast.bob).post(f"{API}/invalidate/", {"all": True}, format="json"), 403)
    assert kept(valkey, cast.acme)
    assert not AuditEntry.objects.filter(action="invalidate").exists()


def test_an_operator_names_the_tenant(cast: Cast, valkey: redis.Redis) -> None:
    fill(valkey, cast)
    client = as_person(cast.olga)
    assert_problem(client.post(f"{API}/invalidate/", {"all": True}, format="json"), 400)
    assert client.post(f"{API}/invalidate/?tenant=acme", {"all": True}, format="json").status_code == 200
    assert not kept(valkey, cast.acme)


def test_without_valkey_it_says_so_and_no_entry_claims_otherwise(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = redis.Redis.from_url("redis://127.0.0.1:1/0", retry=None)
    monkeypatch.setattr(connection, "cache_client", lambda: nowhere)
    for module in ("llmobs.cache.api", "llmobs.cache.forgetting"):
        monkeypatch.setattr(f"{module}.cache_client", lambda: nowhere)
    assert_problem(with_key("acme").get(f"{API}/"), 503)
    assert_problem(with_key("acme").post(f"{API}/invalidate/", {"all": True}, format="json"), 503)
    assert not AuditEntry.objects.filter(action="invalidate").exists()


def test_a_tenants_settings_are_changed_by_an_operator(cast: Cast) -> None:
    """S0-10: switched on in configuration. S0-48: time by volatility."""
    client = as_person(cast.olga)
    wanted = {"cache": "exact", "cache_ttl_seconds": {"faq": 172_800, "news": 0, "*": 600}, "cache_mb": 8}
    assert client.patch("/api/v1/tenants/acme/", wanted, format="json").status_code == 200
    acme = Tenant.objects.get(slug="acme")
    assert (acme.cache, acme.cache_ttl_seconds["faq"], acme.cache_mb) == ("exact", 172_800, 8)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cache": "semantic"}, "not in this version"),
        ({"cache": ""}, "cache"),
        ({"cache_ttl_seconds": {"faq": -1}}, "whole number of seconds"),
        ({"cache_ttl_seconds": {"faq": True}}, "whole number of seconds"),
        ({"cache_ttl_seconds": [60]}, "Seconds by feature"),
        ({"cache_mb": 0}, "megabytes"),
    ],
)
def test_wrong_settings_are_refused(cast: Cast, wrong: dict[str, Any], said: str) -> None:
    answer = as_person(cast.olga).patch("/api/v1/tenants/acme/", wrong, format="json")
    assert said in str(assert_problem(answer, 400))


def test_a_key_is_off_exact_or_as_its_tenant_says(cast: Cast) -> None:
    client, address = as_person(cast.alice), f"/api/v1/keys/{cast.acme_key.pk}/"
    for mode in ("exact", "off", ""):
        assert client.patch(address, {"cache": mode}, format="json").json()["cache"] == mode
    assert "not in this version" in str(
        assert_problem(client.patch(address, {"cache": "semantic"}, format="json"), 400)
    )
    assert Key.objects.get(pk=cast.acme_key.pk).cache == ""


def test_the_admin_lists_caches_and_empties_one(cast: Cast, valkey: redis.Redis) -> None:
    fill(valkey, cast)
    client = as_person(cast.olga)
    page = client.get("/admin/cache/tenantcache/")
    assert page.status_code == 200
    assert b"globex" in page.content
    chosen = {"action": "empty_caches", "_selected_action": [str(cast.acme.pk)]}
    assert client.post("/admin/cache/tenantcache/", chosen).status_code == 302
    assert blob_of(ask(valkey, asking(cast.acme.pk, mode="alone"))) is None
    assert kept(valkey, cast.globex)
    assert AuditEntry.objects.get(action="invalidate").actor == "olga"

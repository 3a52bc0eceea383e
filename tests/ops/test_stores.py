"""The embedded stores and the fixtures that every other test stands on."""

from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from llmobs.tenants.models import Tenant


def test_postgres_is_version_18_and_asks_for_its_password(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        assert conn.info.server_version // 10_000 == 18
    password = psycopg.conninfo.conninfo_to_dict(database_url)["password"]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(database_url.replace(f":{password}@", ":wrong@"))


@pytest.mark.parametrize("time", ["first", "second"])
def test_each_test_finds_the_database_empty_whatever_the_one_before_left(pg: psycopg.Connection, time: str) -> None:
    assert pg.execute("SELECT count(*) FROM budget_spend").fetchone() == (0,)
    assert pg.execute("SELECT count(*) FROM config_version").fetchone() == (1,)
    pg.execute(
        "INSERT INTO budget_spend (tenant_id, budget_id, revision, value, window_start, spent, version) "
        "VALUES (1, 1, 1, '', now(), 5, 1)"
    )


def test_today_has_a_partition(pg: psycopg.Connection) -> None:
    row = pg.execute("SELECT to_regclass('span_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD'))").fetchone()
    assert row != (None,)


def test_valkey_keeps_nothing_and_evicts_nothing(valkey: "redis.Redis") -> None:
    assert valkey.config_get("save") == {"save": ""}
    assert valkey.config_get("appendonly") == {"appendonly": "no"}
    assert valkey.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert valkey.dbsize() == 0


def test_valkey_asks_for_its_password(valkey_url: str) -> None:
    right = urlsplit(valkey_url).password
    stranger = redis.Redis.from_url(valkey_url.replace(f":{right}@", ":wrong@"))
    with stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


@pytest.mark.django_db
def test_django_sees_the_same_database() -> None:
    Tenant.objects.create(slug="acme", name="Acme")
    assert Tenant.objects.get().slug == "acme"

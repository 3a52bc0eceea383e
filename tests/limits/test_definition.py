"""Which limits apply to a call, under which key each is counted, and what a plan brings."""

from typing import Any

import msgspec
import psycopg
import pytest

from llmobs.limits.definition import MOST_REMEMBERED, LimitInfo, Limits, RequestCaps, load
from llmobs.tenants.attribution import Attribution
from tests.limits.made import info

ANN = Attribution(user_id="ann", feature="chat", environment="production", session_id="s1", service="web", key_id=5)
EACH_USER = (("user", "*"),)


def keys(limits: Limits, tenant_id: int = 7, who: Attribution = ANN, ip: str = "192.0.2.1") -> list[str]:
    return [each.key for each in limits.applying(tenant_id, who, "gpt-4o-mini", "openai", ip)]


@pytest.mark.parametrize(
    ("scope", "value"),
    [
        ((), ""),
        ((("feature", "chat"),), ""),
        ((("user", "*"),), "ann"),
        ((("key", "*"),), "5"),
        ((("environment", "*"),), "production"),
        ((("session", "*"),), "s1"),
        ((("ip", "*"),), "192.0.2.1"),
        ((("model", "*"), ("provider", "openai")), "gpt-4o-mini"),
        ((("feature", "*"), ("user", "*")), '["chat","ann"]'),
    ],
)
def test_s0_04_per_user_feature_key_and_tenant(scope: tuple[tuple[str, str], ...], value: str) -> None:
    """S0-04: limits per user, per feature and per tenant, for one value or for each."""
    names = ",".join(name for name, _ in scope)
    assert keys(Limits([info(scope=scope)])) == [f"limit:{{7}}:1:requests:minute:{names}:{value}"]


@pytest.mark.parametrize(
    "scope", [{"feature": "search"}, {"user": "bob"}, {"key": "6"}, {"feature": "chat", "ip": "x"}]
)
def test_another_value_is_another_matter(scope: dict[str, str]) -> None:
    assert keys(Limits([info(scope=tuple(scope.items()))])) == []


def test_an_unknown_user_is_one_user() -> None:
    assert keys(Limits([info(scope=EACH_USER)]), who=Attribution()) == ["limit:{7}:1:requests:minute:user:"]


def test_a_tenants_limits_are_its_own() -> None:
    limits = Limits([info(), info(id=2, tenant_id=8)])
    assert (keys(limits), keys(limits, 8), keys(limits, 9)) == (
        ["limit:{7}:1:requests:minute::"],
        ["limit:{8}:2:requests:minute::"],
        [],
    )


def test_what_all_share_and_what_each_has_of_a_limit_for_all() -> None:
    """Two tenants' users of one name are two; an address is one, whoever's key it shows."""
    shared = Limits([info(tenant_id=None), info(id=2, tenant_id=None, scope=(("ip", "*"),))])
    assert keys(shared, 7) == keys(shared, 8)
    assert keys(shared)[0].startswith("limit:{*}:1:")
    users = Limits([info(tenant_id=None, scope=EACH_USER)])
    assert keys(users, 7) == ['limit:{7}:1:requests:minute:user:["7","ann"]']
    assert keys(users, 8) == ['limit:{8}:1:requests:minute:user:["8","ann"]']
    tenants = Limits([info(tenant_id=None, scope=(("tenant", "*"),))])
    assert keys(tenants, 8) == ["limit:{8}:1:requests:minute:tenant:8"]


def test_a_limit_for_all_comes_first_and_the_tenants_own_after_it() -> None:
    limits = Limits([info(), info(id=2, tenant_id=None)])
    assert [key.split(":")[2] for key in keys(limits)] == ["2", "1"]


def test_values_remembered_are_bounded_and_long_ones_kept_by_their_hash() -> None:
    limits = Limits([info(scope=EACH_USER)])
    found = {keys(limits, who=Attribution(user_id=f"u{n}"))[0] for n in range(MOST_REMEMBERED + 10)}
    assert len(found) == MOST_REMEMBERED + 10
    long = [keys(limits, who=Attribution(user_id="x" * 1_000 + end))[0] for end in "ab"]
    assert len(set(long)) == 2
    assert max(map(len, long)) < 200


def test_caps_of_one_request_are_the_tightest() -> None:
    caps = {"per": "request", "unit": "input_tokens"}
    limits = Limits([info(4_096, **caps), info(1_000, id=2, scope=(("feature", "chat"),), **caps)])
    assert limits.caps(7, ANN, "m", "p", "") == RequestCaps(1_000, None)
    assert limits.caps(7, Attribution(), "m", "p", "") == RequestCaps(4_096, None)
    assert keys(limits) == []


def make_tenant(pg: psycopg.Connection[Any], slug: str, plan: str) -> int:
    row = pg.execute(
        "INSERT INTO tenants_tenant (slug, name, plan, content, time_zone, retention_days, is_active, created_at) "
        "VALUES (%s, %s, %s, 'full', 'UTC', 400, true, now()) RETURNING id",
        (slug, slug, plan),
    ).fetchone()
    assert row
    return int(row[0])


def make_limit(pg: psycopg.Connection[Any], tenant_id: int | None, scope: str = "{}", **changes: Any) -> None:
    row = {"unit": "requests", "per": "minute", "limit": 60, "is_active": True, "name": "", **changes}
    columns = ", ".join(f'"{name}"' for name in row)
    marks = ", ".join(["%s"] * len(row))
    pg.execute(
        f"INSERT INTO limits_limit ({columns}, tenant_id, scope, created_at) VALUES ({marks}, %s, %s, now())",
        [*row.values(), tenant_id, scope],
    )


def of(limits: Limits, tenant_id: int | None) -> list[tuple[str, str, int, tuple[tuple[str, str], ...]]]:
    return [(each.unit, each.per, each.limit, each.scope) for each in limits.infos if each.tenant_id == tenant_id]


def test_s3_15_plans_bring_daily_tokens_for_each_user(pg: psycopg.Connection[Any]) -> None:
    """S3-15: 50,000 tokens a day for each user of a free tenant, 500,000 of a paid one; none brings none."""
    free, paid, none = (make_tenant(pg, plan, plan) for plan in ("free", "paid", "none"))
    limits = load(pg)
    assert ("tokens", "day", 50_000, EACH_USER) in of(limits, free)
    assert of(limits, paid) == [("tokens", "day", 500_000, EACH_USER)]
    assert of(limits, none) == []


def test_s3_14_free_caps_each_request(pg: psycopg.Connection[Any]) -> None:
    """S3-14: 4,096 input and 1,024 output tokens a request."""
    free = make_tenant(pg, "free", "free")
    assert load(pg).caps(free, ANN, "m", "p", "") == RequestCaps(4_096, 1_024)


def test_a_limit_of_the_same_kind_takes_the_plans_place(pg: psycopg.Connection[Any]) -> None:
    free = make_tenant(pg, "free", "free")
    make_limit(pg, free, '{"user": "*"}', unit="tokens", per="day", limit=70_000)
    make_limit(pg, free, unit="output_tokens", per="request", limit=8_000)
    limits = load(pg)
    assert [limit for unit, per, limit, _ in of(limits, free) if (unit, per) == ("tokens", "day")] == [70_000]
    assert limits.caps(free, ANN, "m", "p", "") == RequestCaps(4_096, 8_000)


def test_keys_and_tenants_are_resolved_by_name_and_what_is_off_is_left_out(pg: psycopg.Connection[Any]) -> None:
    acme = make_tenant(pg, "acme", "none")
    pg.execute(
        "INSERT INTO tenants_key (tenant_id, name, prefix, secret_hash, service, environment, feature, allowed_models, "
        "criticality, cache, unpriced, created_at) "
        "VALUES (%s, 'prod', 'k', 'h', '', '', '', '[]', 'background', 'off', 'refuse', now())",
        (acme,),
    )
    key = pg.execute("SELECT id::text FROM tenants_key").fetchone()
    assert key
    make_limit(pg, acme, '{"key": "prod"}')
    make_limit(pg, None, '{"key": "acme/prod"}')
    make_limit(pg, None, '{"tenant": "acme"}')
    make_limit(pg, acme, '{"key": "gone"}')
    make_limit(pg, acme, '{"colour": "red"}')
    make_limit(pg, acme, is_active=False)
    limits = load(pg)
    assert [scope for *_, scope in of(limits, acme)] == [(("key", key[0]),), (("key", "-1"),)]
    assert [scope for *_, scope in of(limits, None)] == [(("key", key[0]),), (("tenant", str(acme)),)]


def test_changes_reach_the_gateways_and_the_snapshot_holds_them(pg: psycopg.Connection[Any]) -> None:
    before = pg.execute("SELECT version FROM config_version").fetchone()
    make_limit(pg, None)
    after = pg.execute("SELECT version FROM config_version").fetchone()
    assert before
    assert after
    assert after[0] > before[0]
    infos = list(load(pg).infos)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(infos), type=list[LimitInfo]) == infos

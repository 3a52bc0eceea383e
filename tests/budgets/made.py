"""Makes budgets, calls and bills for the tests of this folder."""

from typing import Any

import psycopg
import redis

from llmobs.budgets import ledger
from llmobs.budgets.definition import Applied, BudgetInfo, apply_at
from llmobs.budgets.ledger import Ahead, Exhausted, Granted, Standing, Unavailable
from llmobs.budgets.valkey import run
from llmobs.core.clock import NS_PER_SECOND, utc_from_ns
from llmobs.core.ids import new_row_id
from llmobs.tenants.attribution import Attribution

Conn = psycopg.Connection[Any]

AT_S = 1_795_252_000  # 2026-11-21 09:06:40 UTC
AT_NS = AT_S * NS_PER_SECOND
EPOCH = "e1:server"
OWNER = "gateway-1"
NOBODY = Attribution()


def info(limit: int = 100, **changes: Any) -> BudgetInfo:
    """A counted, blocking USD budget over the whole tenant, per day."""
    fields: dict[str, Any] = {
        "id": 1,
        "tenant_id": 7,
        "name": "daily",
        "unit": "usd",
        "limit": limit,
        "window": "day",
        "scope": (),
        "action": "block",
        "thresholds": (70, 80, 100),
        "revision": 1,
        "zone": "UTC",
        "counted_from_s": 0,
    }
    return BudgetInfo(**{**fields, **changes})


def applied(limit: int = 100, value: str = "", **changes: Any) -> Applied:
    return apply_at(info(limit, **changes), value, AT_S)


def open_ledger(client: redis.Redis, *budgets: Applied, epoch: str = EPOCH) -> None:
    """An open ledger that knows these budgets as counted."""
    client.set(ledger.EPOCH_KEY, f"open {epoch}")
    for each in budgets:
        client.sadd(ledger.counted_key(each.budget.tenant_id), f"{each.budget.id}:{each.budget.revision}")


def reserve(
    client: redis.Redis, attempt: str, *asked: tuple[Applied, int], epoch: str = EPOCH, owner: str = OWNER
) -> Granted | Exhausted | Unavailable | Ahead:
    return ledger.parse_reserve(run(client, ledger.reserve(epoch, attempt, AT_S, owner, asked)), len(asked))


def settle(client: redis.Redis, attempt: str, *actuals: tuple[Applied, int], epoch: str = EPOCH) -> int | Unavailable:
    return ledger.parse_change(run(client, ledger.settle(epoch, attempt, [(each.key, n) for each, n in actuals])))


def release(client: redis.Redis, attempt: str, *held: Applied, epoch: str = EPOCH) -> int | Unavailable:
    return ledger.parse_change(run(client, ledger.release(epoch, attempt, [each.key for each in held])))


def fold_of(each: Applied, base: int | None, version: int, *attempts: str, announces: bool = False) -> ledger.Fold:
    budget = each.budget
    return ledger.Fold(
        budget.tenant_id,
        budget.id,
        budget.revision,
        each.window_start_s,
        each.value,
        base,
        version,
        attempts,
        announces,
    )


def fold(
    client: redis.Redis, each: Applied, base: int | None, version: int, *attempts: str, epoch: str = EPOCH
) -> int | Unavailable:
    return ledger.parse_change(run(client, ledger.fold(epoch, fold_of(each, base, version, *attempts))))


def standing(client: redis.Redis, each: Applied) -> Standing:
    found = ledger.parse_status(run(client, ledger.status([each.key])))
    assert isinstance(found, list)
    return found[0]


def sums(client: redis.Redis, each: Applied) -> tuple[int, int, int]:
    """Base, pending, held."""
    found = standing(client, each)
    return found.base, found.pending, found.held


def make_tenant(conn: Conn, slug: str = "acme", zone: str = "UTC") -> int:
    row = conn.execute(
        "INSERT INTO tenants_tenant (slug, name, plan, content, time_zone, retention_days, is_active, created_at) "
        "VALUES (%s, %s, 'none', 'full', %s, 400, true, now()) RETURNING id",
        (slug, slug, zone),
    ).fetchone()
    assert row
    return int(row[0])


def make_key(conn: Conn, tenant_id: int, name: str) -> int:
    row = conn.execute(
        "INSERT INTO tenants_key (tenant_id, name, prefix, secret_hash, service, environment, feature, allowed_models, "
        "criticality, cache, unpriced, created_at) "
        "VALUES (%s, %s, 'k', %s, '', '', '', '[]', 'background', 'off', 'refuse', now()) RETURNING id",
        (tenant_id, name, f"{tenant_id}-{name}"),
    ).fetchone()
    assert row
    return int(row[0])


def make_budget(conn: Conn, tenant_id: int, **changes: Any) -> int:
    fields: dict[str, Any] = {
        "tenant_id": tenant_id,
        "name": "daily",
        "limit_nanousd": 100,
        "limit_tokens": None,
        "window": "day",
        "scope": "{}",
        "action": "block",
        "thresholds": "[70, 80, 100]",
        "is_active": True,
        "revision": 1,
        "counted_at": None,
        "created_at": utc_from_ns(AT_NS),
        **changes,
    }
    columns = ", ".join(f'"{name}"' for name in fields)
    marks = ", ".join(["%s"] * len(fields))
    row = conn.execute(
        f"INSERT INTO budgets_budget ({columns}) VALUES ({marks}) RETURNING id", list(fields.values())
    ).fetchone()
    assert row
    return int(row[0])


def make_bill(
    conn: Conn,
    tenant_id: int,
    cost_nanousd: int | None,
    at_ns: int = AT_NS,
    tokens: int = 0,
    attribution: Attribution = NOBODY,
    model: str = "gpt-4o-mini",
    span_id: bytes = b"12345678",
) -> None:
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "bill_id": new_row_id(),
        "begin_at": utc_from_ns(at_ns),
        "trace_id": b"1234567812345678",
        "span_id": span_id,
        "kind": "measured",
        "reason": "",
        "source": 1,
        "requests": 1,
        "provider_name": "openai",
        "model": model,
        "response_id": "",
        "uncached_input_tokens": tokens,
        "cache_read_input_tokens": 0,
        "cache_write_5m_input_tokens": 0,
        "cache_write_1h_input_tokens": 0,
        "output_tokens": 0,
        "reasoning_output_tokens": 0,
        "cost_nanousd": cost_nanousd,
        "price_version": "",
        "held_nanousd": 0,
        "budget_ids": [],
        "service": attribution.service,
        "environment": attribution.environment,
        "feature": attribution.feature,
        "user_id": attribution.user_id,
        "session_id": attribution.session_id,
        "key_id": attribution.key_id,
    }
    marks = ", ".join(["%s"] * len(values))
    conn.execute(f"INSERT INTO bill ({', '.join(values)}) VALUES ({marks})", list(values.values()))

"""What the gateway's tests have in the database: a tenant with a key, providers that are the simulator, budgets."""

import json
import time
from dataclasses import dataclass
from typing import Any

import psycopg
import redis

from llmobs.budgets import recovery
from llmobs.tenants.keys import new_secret, secret_hash

MONTH_BUDGET_NANOUSD = 10_000_000_000


@dataclass
class World:
    """Rows, made in plain SQL: the gateway reads them as anyone may have written them."""

    pg: psycopg.Connection[Any]
    valkey: redis.Redis

    def version(self) -> int:
        return int(self._one("SELECT version FROM config_version"))

    def tenant(self, slug: str = "acme", content: str = "full", **fields: Any) -> int:
        row = {
            "slug": slug,
            "name": slug,
            "plan": "none",
            "content": content,
            "time_zone": "UTC",
            "retention_days": 400,
            "is_active": True,
        }
        return self._insert("tenants_tenant", {**row, **fields})

    def key(self, tenant_id: int | None, name: str = "prod", **fields: Any) -> tuple[int, str]:
        secret = new_secret()
        row = {
            "tenant_id": tenant_id,
            "name": name,
            "prefix": secret[:14],
            "secret_hash": secret_hash(secret),
            "service": "shop",
            "environment": "production",
            "feature": "",
            "allowed_models": "[]",
            "criticality": "background",
            "cache": "off",
            "unpriced": "refuse",
        }
        return self._insert("tenants_key", {**row, **fields}), secret

    def provider(self, name: str, dialect: str, base_url: str, **fields: Any) -> int:
        row = {
            "name": name,
            "dialect": dialect,
            "base_url": base_url,
            "credential": "",
            "headers": "{}",
            "prices_like": "",
            "is_enabled": True,
            "breaker": False,  # a test's faults are its own; those of routing switch both on
            "retries": 0,
        }
        return self._insert("providers_provider", {**row, **fields})

    def route(self, name: str, *candidates: tuple[int, str]) -> None:
        sql = "INSERT INTO providers_route (name, strategy) VALUES (%s, 'fallback') RETURNING id"
        route_id = self._one(sql, name)
        for position, (provider_id, model) in enumerate(candidates):
            self.pg.execute(
                "INSERT INTO providers_candidate (route_id, provider_id, model, position) VALUES (%s, %s, %s, %s)",
                (route_id, provider_id, model, position),
            )

    def budget(self, tenant_id: int, limit_nanousd: int | None = MONTH_BUDGET_NANOUSD, **fields: Any) -> int:
        row = {
            "tenant_id": tenant_id,
            "name": "monthly",
            "limit_nanousd": limit_nanousd,
            "limit_tokens": None,
            "window": "month",
            "scope": "{}",
            "action": "block",
            "thresholds": "[70, 80, 100]",
            "is_active": True,
            "revision": 1,
        }
        budget_id = self._insert("budgets_budget", {**row, **fields})
        self.pg.execute("UPDATE budgets_budget SET counted_at = now() WHERE id = %s", (budget_id,))
        return budget_id

    def limit(self, tenant_id: int | None, limit: int, **fields: Any) -> int:
        row = {
            "tenant_id": tenant_id,
            "name": "",
            "unit": "requests",
            "per": "minute",
            "limit": limit,
            "scope": "{}",
            "is_active": True,
        }
        return self._insert("limits_limit", {**row, **fields})

    def open_ledger(self) -> None:
        """What the writer does when the ledger is lost."""
        assert recovery.recover(self.pg, self.valkey, _NoJournals(), time.time_ns()) is not None

    def ledger(self) -> dict[str, int]:
        """Sums over all of the ledger's keys, and how many attempts are live."""
        sums = {"base": 0, "pending": 0, "held": 0, "live": 0}
        for key in self.valkey.scan_iter("ledger:{*}:[0-9]*"):
            for name, value in self.valkey.hgetall(key).items():
                field = name.decode() if isinstance(name, bytes) else name
                if field in sums:
                    sums[field] += int(value)
                elif field != "version":
                    sums["live"] += 1
        return sums

    def _insert(self, table: str, row: dict[str, Any]) -> int:
        names = [row_name for (row_name,) in self.pg.execute(_COLUMNS, (table,)).fetchall()]
        if "created_at" in names:
            row = {**row, "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        columns = ", ".join(f'"{name}"' for name in row)
        places = ", ".join(["%s"] * len(row))
        values = [json.dumps(value) if isinstance(value, (dict, list)) else value for value in row.values()]
        return int(self._one(f"INSERT INTO {table} ({columns}) VALUES ({places}) RETURNING id", *values))

    def _one(self, sql: str, *values: Any) -> Any:
        row = self.pg.execute(sql, values).fetchone()
        assert row is not None
        return row[0]


_COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = %s"


class _NoJournals:
    """No journal is read: the gateway hands in by itself."""

    def living(self) -> set[str]:
        return set()

    def take(self) -> None:
        """There are none."""

    def hand_ins(self, offsets: Any, acknowledged: Any) -> list[Any]:
        return []

    def wait(self, waited_s: float) -> float:
        return waited_s + 1.0

"""Accounts and reports for the tests, by SQL: the plain modules are tried without Django."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from llmobs.reconcile.importing import Came, Imported, import_report
from tests.ingest.making import make_tenant
from tests.reconcile.planted import GATEWAY_KEYS, Planted, commit_planted, plant

Connection = psycopg.Connection[Any]
AT = datetime(2026, 11, 2, 8, tzinfo=UTC)


def make_account(conn: Connection, kind: str, **fields: Any) -> int:
    """An account of this kind and name, whose gateway key is known."""
    values = {"providers": [], "keys": {GATEWAY_KEYS[kind]: kind}, "aliases": {}} | fields
    row = conn.execute(
        "INSERT INTO reconcile_account (name, kind, providers, keys, aliases, credential, base_url, is_enabled, "
        "failures, fetch_error, created_at) VALUES (%s, %s, %s, %s, %s, '', '', true, 0, '', now()) RETURNING id",
        (kind, kind, *(Jsonb(values[name]) for name in ("providers", "keys", "aliases"))),
    ).fetchone()
    assert row is not None
    return int(row[0])


def take_in(conn: Connection, account_id: int, text: str, source: str = "report.json") -> Imported:
    with conn.transaction():
        return import_report(conn, account_id, Came(text.encode(), source, "olga", AT))


def planted_month(conn: Connection, form: str) -> tuple[Planted, dict[str, int]]:
    """Bills and reports of the planted month, taken in; the accounts by kind."""
    for tenant_id in (1, 2):
        make_tenant(conn, tenant_id)
    made = plant()
    commit_planted(conn, made)
    accounts = {kind: make_account(conn, kind) for kind in ("openai", "anthropic")}
    for (kind, what), text in made.reports(form).items():
        take_in(conn, accounts[kind], text, f"{what}.{form}")
    return made, accounts


def usd(nanousd: Decimal | int) -> Decimal:
    return Decimal(nanousd).scaleb(-9)

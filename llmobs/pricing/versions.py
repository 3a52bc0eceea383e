"""Each price version that a cost was computed with, kept for ever: a cost can be recomputed and explained later."""

from typing import Any

import msgspec
import psycopg

from llmobs.pricing.price import Price


def remember(conn: psycopg.Connection[Any], prices: list[Price]) -> None:
    """Keep the rates of these versions (those already kept are left as they are). Commits nothing itself."""
    with conn.cursor() as cur:
        cur.executemany(
            "INSERT INTO price_version (version, provider, model, rates) "
            "VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [(p.version, p.provider, p.model, msgspec.msgpack.encode(p)) for p in prices],
        )


def read(conn: psycopg.Connection[Any], versions: list[str]) -> dict[tuple[str, str, str], Price]:
    """The prices kept under these versions, by (version, provider, model)."""
    rows = conn.execute(
        "SELECT version, provider, model, rates FROM price_version WHERE version = ANY(%s)", (versions,)
    ).fetchall()
    return {(v, provider, model): msgspec.msgpack.decode(rates, type=Price) for v, provider, model, rates in rows}


def rates_by_version(conn: psycopg.Connection[Any], versions: list[str]) -> dict[str, Price]:
    """One price for each version: equal versions have equal rates, whatever the model."""
    return {version: price for (version, _, _), price in read(conn, versions).items()}

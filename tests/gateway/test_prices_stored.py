"""A price that changes while the writer is behind: what the gateway priced by is kept all the same."""

from typing import Any

import httpx2 as httpx
import psycopg
import pytest

from llmobs.ingest.entries import UsedPrice
from llmobs.ingest.writing import Writer
from llmobs.ops.verify import verify
from tests.gateway.running import Gateway
from tests.gateway.test_limits import CHAT, GOOD
from tests.gateway.world import World
from tests.gateway.written import shared_gateway, writer

__all__ = ["shared_gateway", "writer"]


@pytest.fixture
def set_price(world: World, gateway: Gateway) -> Any:
    def _set(usd: str) -> None:
        world.pg.execute("DELETE FROM pricing_price")
        world.pg.execute(
            "INSERT INTO pricing_price (provider, model, effective_from, input_usd_per_mtok, output_usd_per_mtok, "
            "units, long_context, tiers, created_at) "
            "VALUES ('openai', 'gpt-4o-mini', '2026-01-01', %s, %s, '{}', '[]', '{}', now())",
            (usd, usd),
        )
        gateway.wait_for_config(world.version())

    return _set


def test_a_version_that_the_writers_book_has_no_more_is_known(
    gateway: Gateway, http: httpx.Client, writer: Writer, pg: psycopg.Connection[Any], set_price: Any
) -> None:
    for usd in ("1", "1", "2"):
        set_price(usd)
        assert http.post(CHAT, json=GOOD).status_code == 200
    set_price("3")  # the writer loads this one
    gateway.wait_until(gateway.is_quiet, "every call has ended")
    writer.drain()
    paid = pg.execute("SELECT cost_nanousd FROM bill ORDER BY 1").fetchall()
    assert paid == [(12_000,), (12_000,), (24_000,)]
    versions = {version for (version,) in pg.execute("SELECT DISTINCT price_version FROM bill").fetchall()}
    kept = {version for (version,) in pg.execute("SELECT version FROM price_version").fetchall()}
    assert len(versions) == 2
    assert versions <= kept
    assert verify(pg).differences == []


def test_each_is_told_once(gateway: Gateway, http: httpx.Client, set_price: Any) -> None:
    set_price("4")
    for _ in range(3):
        assert http.post(CHAT, json=GOOD).status_code == 200
    gateway.wait_until(gateway.is_quiet, "every call has ended")
    assert len([entry for entry in gateway.entries() if isinstance(entry, UsedPrice)]) == 1

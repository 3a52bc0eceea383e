"""How many statements a page or a REST list asks of PostgreSQL does not grow with what it shows (PAINS 36)."""

from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from llmobs.rollups.compact import compact_all
from llmobs.tenants.attribution import Attribution
from tests.budgets.made import make_budget
from tests.dashboards.cast import Cast
from tests.ingest.making import START_NS, call, commit

# With the most statements that each may ask, sessions and permissions included.
ADDRESSES = {
    "/?last=24h": 32,
    "/?last=24h&tenant=acme": 32,
    "/traces/?last=24h": 16,
    "/traces/?last=24h&status=failed": 16,
    "/traces/?last=24h&sort=cost": 16,
    "/traces/?last=24h&q=chat": 20,
    "/traces/?last=24h&provider=openai": 20,
    "/costs/?last=7d": 22,
    "/costs/?last=7d&by=model": 22,
    "/costs/?last=7d&by=user": 20,
    "/costs/?last=7d&by=feature&open=feature-1": 26,
    "/usage/?last=7d": 20,
    "/budgets/": 22,
    "/providers/": 24,
    "/api/v1/traces/?last=24h": 12,
    "/api/v1/traces/?last=24h&service=shop": 12,
    "/api/v1/usage/?last=7d": 12,
    "/api/v1/metrics/?last=7d&metric=cost_usd,p95&group_by=feature&interval=day": 12,
}


def traffic(cast: Cast, pg: "psycopg.Connection[Any]", first: int, count: int) -> None:
    """Calls of as many features, users, models and traces."""
    commit(
        pg,
        *(
            call(
                cast.acme.pk,
                start_ns=START_NS - n * 10**9,
                attribution=Attribution("shop", "production", f"feature-{n}", f"user-{n}", f"session-{n}", 0),
                request_model=f"model-{n}",
                status="failed" if n % 3 == 0 else "ok",
                error_type=f"Error{n}" if n % 3 == 0 else "",
            )
            for n in range(first, first + count)
        ),
    )
    compact_all(pg)


def counted(client: Client, address: str) -> int:
    client.get(address)  # colours of models are given at first sight
    with CaptureQueriesContext(connection) as asked:
        assert client.get(address).status_code == 200
    return len(asked)


@pytest.mark.parametrize("address", ADDRESSES)
def test_more_traffic_asks_no_more_statements(empty_cast: Cast, pg: "psycopg.Connection[Any]", address: str) -> None:
    alice = empty_cast.as_(empty_cast.alice)
    traffic(empty_cast, pg, 1, 8)
    few = counted(alice, address)
    traffic(empty_cast, pg, 9, 30)
    assert counted(alice, address) == few <= ADDRESSES[address]


@pytest.mark.parametrize("address", ["/?last=24h", "/budgets/"])
def test_more_budgets_ask_no_more_statements(empty_cast: Cast, pg: "psycopg.Connection[Any]", address: str) -> None:
    alice = empty_cast.as_(empty_cast.alice)
    traffic(empty_cast, pg, 1, 4)

    def budgets(first: int, count: int) -> None:
        for n in range(first, first + count):
            make_budget(pg, empty_cast.acme.pk, name=f"budget {n}", counted_at=empty_cast.now)

    budgets(1, 2)
    few = counted(alice, address)
    budgets(3, 7)
    assert counted(alice, address) == few

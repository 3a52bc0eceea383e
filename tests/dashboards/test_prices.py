"""The page of prices: what models in use cost and who says so, and nothing of another tenant's own price."""

from datetime import UTC, datetime
from typing import Any

import psycopg

from llmobs.pricing.models import Price, TrustedProvider
from llmobs.rollups.compact import compact_all
from tests.dashboards.cast import Cast
from tests.ingest.making import call, commit

Connection = psycopg.Connection[Any]
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def lines(cast: Cast, who: Any) -> dict[tuple[str, str], Any]:
    found = cast.as_(who).get("/prices/").context["lines"]
    return {(line.model.model, line.whose): line for line in found}


def stored(cast: Cast, pg: Connection) -> None:
    for tenant in (cast.acme, cast.globex):
        commit(
            pg,
            call(tenant.pk, stated_cost_nanousd=5),
            call(tenant.pk, provider_name="local", request_model="llama", cost_nanousd=None, price_version=""),
        )
    compact_all(pg)


def test_each_model_has_its_price_with_version_and_what_it_came_to(empty_cast: Cast, pg: Connection) -> None:
    stored(empty_cast, pg)
    found = lines(empty_cast, empty_cast.alice)
    assert set(found) == {("gpt-4o-mini", "list price"), ("llama", "nobody's")}
    listed = found["gpt-4o-mini", "list price"]
    assert (listed.price.rates.uncached_input, listed.model.calls, listed.model.cost_nanousd) == (150_000_000, 1, 3)
    assert "batch" in listed.apart
    body = empty_cast.as_(empty_cast.alice).get("/prices/").content.decode()
    assert "no price" in body
    assert "genai-prices" in body


def test_who_overrides_what_is_told_to_that_tenant_alone(empty_cast: Cast, pg: Connection) -> None:
    stored(empty_cast, pg)
    Price.objects.create(provider="local", model="llama", effective_from=SINCE, input_usd_per_mtok="0.1")
    Price.objects.create(
        tenant=empty_cast.globex, provider="openai", model="gpt-4o-mini", effective_from=SINCE, input_usd_per_mtok="9"
    )
    assert set(lines(empty_cast, empty_cast.alice)) == {("gpt-4o-mini", "list price"), ("llama", "set for all")}
    own = lines(empty_cast, empty_cast.charlie)["gpt-4o-mini", "Globex's own"]
    assert own.price.rates.uncached_input == 9_000_000_000
    stranger = empty_cast.as_(empty_cast.alice).get("/prices/").content.decode()
    assert "Globex" not in stranger


def test_what_providers_state_stands_beside_what_was_billed(empty_cast: Cast, pg: Connection) -> None:
    stored(empty_cast, pg)
    TrustedProvider.objects.create(provider="openai")
    [row] = empty_cast.as_(empty_cast.alice).get("/prices/").context["stated"]
    assert (row.provider, row.calls, row.stated_nanousd, row.billed_nanousd, row.apart_nanousd, row.is_trusted) == (
        "openai", 1, 5, 3, 2, True,
    )  # fmt: skip


def test_without_calls_it_says_what_to_do(empty_cast: Cast) -> None:
    response = empty_cast.as_(empty_cast.alice).get("/prices/")
    assert response.status_code == 200
    assert response.context["lines"] == []
    assert "own figure" in response.content.decode()

"""When something cannot be read: one block fails alone, and a store that is away is named."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import psycopg
import pytest
from django.core.cache import cache
from django.db import DataError, OperationalError
from django.test import Client

from tests.dashboards.cast import Cast

AWAY = OperationalError("could not connect")


@pytest.fixture(autouse=True)
def no_old_faults() -> Iterator[None]:
    """Faults of earlier tests are forgotten."""
    cache.clear()
    yield
    cache.clear()


@pytest.mark.parametrize(
    ("path", "query", "words"),
    [
        ("/", "dashboards.columns.latencies", "The latency cannot be read since"),
        ("/", "dashboards.views.overview.budgets_now", "The budgets cannot be read since"),
        ("/", "dashboards.views.overview.traces", "The slowest traces cannot be read since"),
        ("/costs/", "dashboards.views.costs.paid_for", "What was paid for cannot be read since"),
        ("/costs/", "dashboards.views.costs.cost_by", "Who spent it cannot be read since"),
        ("/traces/", "dashboards.views.traces.outcomes_by_bucket", "The chart cannot be read since"),
        ("/traces/", "dashboards.views.traces.traces", "The list cannot be read since"),
        ("/budgets/", "dashboards.views.budgets.spend_over_time", "The running sum cannot be read since"),
        ("/prices/", "dashboards.views.prices.priced_models", "The prices cannot be read since"),
        ("/prices/", "dashboards.views.prices.stated", "What providers state cannot be read since"),
        ("/providers/", "dashboards.views.providers.unhealthy_now", "The providers cannot be read since"),
        ("/providers/", "dashboards.views.providers.replaced", "Who answered instead cannot be read since"),
    ],
)
def test_a_block_fails_alone_and_offers_to_try_again(path: str, query: str, words: str, cast: Cast) -> None:
    with patch(query, side_effect=DataError("broken")):
        response = cast.as_(cast.alice).get(path)
    page = response.content.decode()
    assert response.status_code == 200
    assert words in page
    assert ">Retry</a>" in page
    assert page.count("cannot be read") == 1
    assert "Figures as of" in page


def test_a_fault_that_stays_keeps_the_time_of_its_first(cast: Cast) -> None:
    alice = cast.as_(cast.alice)
    with patch("dashboards.columns.latencies", side_effect=DataError("broken")):
        first = alice.get("/").context["latency"].failed_since
        assert alice.get("/").context["latency"].failed_since == first


@pytest.mark.parametrize("path", ["/", "/traces/", "/costs/", "/budgets/", "/providers/", "/prompts/"])
def test_without_postgresql_a_page_says_so_and_since_when(path: str, cast: Cast) -> None:
    alice = cast.as_(cast.alice)
    alice.get("/")
    with (
        patch("dashboards.visit.seen_by", side_effect=AWAY),
        patch("django.db.backends.postgresql.base.DatabaseWrapper.is_usable", return_value=False),
    ):
        response = alice.get(path)
    page = response.content.decode()
    assert (response.status_code, response["Retry-After"]) == (503, "15")
    assert "PostgreSQL cannot be reached since" in page
    assert "Figures were read last at" in page
    assert "The gateway keeps serving" in page
    assert "Acme" not in page


def test_without_postgresql_a_session_cannot_be_read_and_the_page_still_says_so(cast: Cast) -> None:
    alice = cast.as_(cast.alice)
    with (
        patch("django.contrib.sessions.backends.db.SessionStore._get_session_from_db", side_effect=AWAY),
        patch("django.db.backends.postgresql.base.DatabaseWrapper.is_usable", return_value=False),
    ):
        assert alice.get("/").status_code == 503


def test_a_fault_of_a_store_that_answers_is_no_notice_but_an_error(cast: Cast) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(cast.alice)
    with patch("dashboards.visit.seen_by", side_effect=AWAY):
        assert client.get("/").status_code == 500


def test_a_silent_writer_leaves_the_figures_behind(cast: Cast, pg: "psycopg.Connection[object]") -> None:
    seen_at = datetime.now(UTC) - timedelta(seconds=42)
    pg.execute(
        "INSERT INTO heartbeat (owner, kind, host, pid, config_version, seen_at) VALUES ('w', 'writer', 'h', 1, 1, %s)",
        [seen_at],
    )
    pg.commit()
    page = cast.as_(cast.alice).get("/").content.decode()
    assert "behind by 4" in page
    assert "Figures are behind" in page
    assert "live ·" not in page


def test_a_writer_that_ended_in_order_leaves_them_behind_as_well(cast: Cast, pg: "psycopg.Connection[object]") -> None:
    pg.execute("DELETE FROM heartbeat")
    pg.execute("DELETE FROM journal_offset")
    pg.execute(
        "INSERT INTO journal_offset (owner, host, low_water, committed, updated_at) VALUES ('g', 'h', 0, 0, %s)",
        [datetime.now(UTC) - timedelta(minutes=3)],
    )
    pg.commit()
    assert "behind by 3\u00a0min" in cast.as_(cast.alice).get("/").content.decode()

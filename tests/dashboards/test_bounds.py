"""What a page may cost: its styles, its scripts, and how often it asks PostgreSQL."""

import re
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

import dashboards
from tests.dashboards.cast import Cast

STATIC = Path(str(dashboards.__path__[0])) / "static" / "dashboards"
MOST_BYTES = 20_000  # of styles, and of own scripts
PLOTLY = re.compile(r"plotly|htmx")
# Session, person, tenants, freshness, filters and models' colours are in each; an overview reads each block for itself.
MOST_QUERIES = {
    "/": 40,  # with forecasts of budgets, open alerts, whose rows may be seen, and which unpriced calls have no usage
    "/traces/": 16,
    "/traces/?sort=cost": 16,
    "/costs/": 22,
    "/budgets/": 20,
    "/prices/": 20,
    "/providers/": 22,
    "/prompts/": 14,
}


@pytest.mark.parametrize("path", [*MOST_QUERIES, "trace", "/accounts/login/"])
def test_styles_and_own_scripts_stay_within_their_bounds(path: str, cast: Cast) -> None:
    address = f"/traces/{cast.trace_id}/" if path == "trace" else path
    client = cast.as_(cast.alice)
    if path == "/accounts/login/":
        client.logout()
    page = client.get(address).content.decode()
    for kind in ("css", "js"):
        names = {
            name for name in re.findall(rf'(?:href|src)="[^"]*/([\w.-]+\.{kind})"', page) if not PLOTLY.search(name)
        }
        assert sum((STATIC / _plain(name)).stat().st_size for name in names) <= MOST_BYTES, names


@pytest.mark.parametrize(("path", "most"), MOST_QUERIES.items())
def test_a_page_asks_a_bounded_number_of_times(path: str, most: int, cast: Cast) -> None:
    alice = cast.as_(cast.alice)
    alice.get(path)  # models that are seen for the first time get their colours
    with CaptureQueriesContext(connection) as asked:
        assert alice.get(path).status_code == 200
    assert len(asked) <= most


def test_a_trace_asks_as_often_whatever_its_length(cast: Cast) -> None:
    alice, counts = cast.as_(cast.alice), []
    for turns in (2, 12):
        trace_id, spans = cast.seeder.agent_trace(turns)
        cast.seeder.commit(spans)
        alice.get(f"/traces/{trace_id}/")
        with CaptureQueriesContext(connection) as asked:
            alice.get(f"/traces/{trace_id}/")
        counts.append(len(asked))
    assert counts[0] == counts[1]


def _plain(name: str) -> str:
    """A static file's name without the hash of its content."""
    return re.sub(r"\.[0-9a-f]{12}(?=\.\w+$)", "", name)

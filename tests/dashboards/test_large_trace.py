"""A large trace opens: its page holds the first rows, the others come in pieces below the span they belong to."""

import re
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dashboards.tree import FOLD_ABOVE
from llmobs.core.ids import new_span_id
from tests.dashboards.cast import Cast
from tests.ingest.making import START_NS, call, commit, step

STEPS, BELOW = 30, 40
ROOT, TRACE = b"r" * 8, b"t" * 16
ROW = re.compile(r'<tr role="row"[^>]* id="s-([0-9a-f]{16})"')


@pytest.fixture
def trace(empty_cast: Cast, pg: "psycopg.Connection[Any]") -> Cast:
    """A root, thirty steps, forty calls below each: 1,231 spans."""
    _write(empty_cast, pg, TRACE, STEPS)
    return empty_cast


def _write(cast: Cast, pg: "psycopg.Connection[Any]", trace_id: bytes, steps: int) -> None:
    tenant_id = cast.acme.pk
    spans = [step(tenant_id, trace_id=trace_id, span_id=ROOT)]
    for n in range(steps):
        at, below = START_NS + n * 10**9, new_span_id()
        spans.append(step(tenant_id, trace_id=trace_id, span_id=below, parent_span_id=ROOT, start_ns=at))
        spans += [
            call(tenant_id, trace_id=trace_id, parent_span_id=below, start_ns=at + (i + 1) * 10**6)
            for i in range(BELOW)
        ]
    commit(pg, *spans)


def page(cast: Cast, query: str = "", trace_id: bytes = TRACE) -> str:
    response = cast.as_(cast.alice).get(f"/traces/{trace_id.hex()}/{query}")
    assert response.status_code == 200
    return response.content.decode()


def test_the_page_holds_the_steps_and_says_how_much_is_below(trace: Cast) -> None:
    shown = page(trace)
    assert 1 + STEPS <= len(ROW.findall(shown)) < FOLD_ABOVE
    assert "1,231 spans" in shown
    assert f"+{BELOW} spans" in shown


def test_each_span_comes_once_in_the_page_or_a_piece(trace: Cast) -> None:
    shown = page(trace)
    found = ROW.findall(shown)
    for piece in set(re.findall(r"below=([0-9a-f]{16})", shown)):
        found += ROW.findall(page(trace, f"?below={piece}"))
    assert len(found) == len(set(found)) == 1 + STEPS + STEPS * BELOW


def test_a_piece_leads_to_the_next_one(trace: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("dashboards.tree", "dashboards.views.trace"):
        monkeypatch.setattr(f"{module}.PIECE", 15)
    below = re.findall(r"below=([0-9a-f]{16})", page(trace))[-1]
    seen: list[str] = []
    query = f"?below={below}"
    while query:
        piece = page(trace, query)
        seen += ROW.findall(piece)
        following = re.search(r'hx-get="[^"?]*(\?[^"]*skip=\d+)" hx-target="closest tr"', piece)
        query = following[1].replace("&amp;", "&") if following else ""
    assert len(seen) == len(set(seen)) >= BELOW - 24  # but for those that stand out, which the page shows


def test_a_stranger_gets_no_piece(trace: Cast) -> None:
    assert trace.as_(trace.charlie).get(f"/traces/{TRACE.hex()}/?below={ROOT.hex()}").status_code == 404
    assert page(trace, f"?below={'0' * 16}").count("<tr") == 0


def test_a_larger_trace_asks_no_more_statements(trace: Cast, pg: "psycopg.Connection[Any]") -> None:
    """PAINS 35, 36."""
    counts = []
    _write(trace, pg, b"u" * 16, STEPS * 2)
    for trace_id in (TRACE, b"u" * 16):
        page(trace, trace_id=trace_id)
        with CaptureQueriesContext(connection) as asked:
            page(trace, trace_id=trace_id)
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 40

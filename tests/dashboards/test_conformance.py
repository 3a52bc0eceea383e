"""The page of conformance: what the writer metered, by library and version, and nothing of another tenant's."""

from typing import Any

import psycopg

from llmobs.ingest.conformance import MOST_ROWS, OTHERS
from llmobs.ingest.otlp.adapters import GEN_AI
from llmobs.spans.record import Span
from tests.dashboards.cast import Cast
from tests.ingest.making import call, commit, step

Connection = psycopg.Connection[Any]
LIBRARY: dict[str, Any] = {"scope_name": "lib", "scope_version": "1.2", "adapter": GEN_AI.code, "response_id": "r"}


def reported(tenant_id: int, **changes: Any) -> Span:
    return call(tenant_id, **{**LIBRARY, **changes})


def seen(cast: Cast, who: Any) -> Any:
    return cast.as_(who).get("/conformance/?last=24h")


def test_what_calls_do_not_say_is_counted_by_library_and_version(empty_cast: Cast, pg: Connection) -> None:
    acme = empty_cast.acme.pk
    commit(
        pg,
        reported(acme),
        reported(acme, usage=None, response_id="", response_model=""),
        reported(acme, status="failed", usage=None, response_id=""),  # nobody expects more of it
        reported(acme, operation_name="embeddings", response_id=""),
        reported(acme, scope_version="2.0", provider_name="", request_model=""),
        step(acme, **LIBRARY),
    )
    old, new = sorted(seen(empty_cast, empty_cast.alice).context["libraries"], key=lambda each: each.version)
    assert (old.name, old.version, old.adapter, old.spans, old.calls) == ("lib", "1.2", "gen_ai@1", 5, 4)
    assert old.missing == {"no_usage": 1, "no_response_id": 1}
    assert (new.version, new.missing) == ("2.0", {"no_model": 1, "no_provider": 1})


def test_remarks_have_their_sentence_and_an_example(empty_cast: Cast, pg: Connection) -> None:
    acme = empty_cast.acme.pk
    remarks = ("unknown:gen_ai.mood", "correction:cache_proven", "flag:total_differs")
    first, last = reported(acme, remarks=remarks), reported(acme, remarks=remarks, response_id="s")
    commit(pg, first)
    commit(pg, last)
    answer = seen(empty_cast, empty_cast.alice)
    [unknown] = answer.context["unknown"]
    assert (unknown.name, unknown.count, unknown.span_id) == ("gen_ai.mood", 2, last.span_id.hex())
    body = answer.content.decode()
    assert f"/traces/{last.trace_id.hex()}/" in body
    assert "do not make the total" in body
    assert "only with cached tokens beside the input" in body


def test_a_span_that_comes_twice_counts_once(empty_cast: Cast, pg: Connection) -> None:
    span = reported(empty_cast.acme.pk, remarks=("unknown:gen_ai.mood",))
    commit(pg, span)
    commit(pg, span)
    [library] = seen(empty_cast, empty_cast.alice).context["libraries"]
    assert (library.spans, library.unknown[0].count) == (1, 1)


def test_a_span_says_by_which_adapter_it_was_read(empty_cast: Cast, pg: Connection) -> None:
    span = reported(empty_cast.acme.pk)
    commit(pg, span)
    client = empty_cast.as_(empty_cast.alice)
    assert "gen_ai@1" in client.get(f"/traces/{span.trace_id.hex()}/?tab=attributes").content.decode()
    [shown] = client.get(f"/api/v1/traces/{span.trace_id.hex()}/").json()["spans"]
    assert shown["adapter"] == "gen_ai@1"


def test_the_gateways_own_spans_are_not_metered(empty_cast: Cast, pg: Connection) -> None:
    commit(pg, call(empty_cast.acme.pk, source=1))
    assert seen(empty_cast, empty_cast.alice).context["libraries"] == []


def test_a_stranger_sees_nothing_of_it(empty_cast: Cast, pg: Connection) -> None:
    commit(pg, reported(empty_cast.acme.pk, remarks=("unknown:gen_ai.mood",)))
    answer = seen(empty_cast, empty_cast.charlie)
    assert answer.context["libraries"] == []
    assert "No library has reported" in answer.content.decode()
    assert seen(empty_cast, empty_cast.operator).context["libraries"] != []


def test_names_that_a_sender_makes_up_are_bounded(empty_cast: Cast, pg: Connection) -> None:
    acme = empty_cast.acme.pk
    for lot in range(5):
        spans = [
            reported(acme, scope_name=f"lib-{lot}-{number}", response_id=f"{lot}-{number}", start_ns=call().start_ns)
            for number in range(MOST_ROWS // 4)
        ]
        commit(pg, *spans)
    row = pg.execute("SELECT count(*), sum(count) FILTER (WHERE what = 'spans') FROM conformance").fetchone()
    assert row is not None
    assert row[0] <= MOST_ROWS + 8
    assert row[1] == 5 * (MOST_ROWS // 4)
    assert pg.execute("SELECT count(*) FROM conformance WHERE scope_name = %s", (OTHERS,)).fetchone() != (0,)

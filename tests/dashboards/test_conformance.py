"""Conformance, page and REST: what the writer metered, by library and version, and nothing of another tenant's."""

from typing import Any

import psycopg
from django.test import Client

from llmobs.ingest.conformance import MOST_NAMES, MOST_ROWS, OTHERS
from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.otlp.adapters import GEN_AI
from llmobs.ingest.otlp.decode import decode
from llmobs.spans.record import Span
from tests.dashboards.cast import Cast
from tests.ingest.making import call, commit, step
from tests.ingest.otlp import sent

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


def test_names_of_one_library_are_bounded_and_take_no_room_of_others(empty_cast: Cast, pg: Connection) -> None:
    acme, names = empty_cast.acme.pk, [f"unknown:acme.model.x{number}" for number in range(MOST_NAMES + 30)]
    lots = (names[:150], names[100:], names[:10])  # some of them again: these are there
    for number, lot in enumerate(lots):
        commit(pg, reported(acme, remarks=tuple(lot), response_id=str(number)))
    commit(pg, reported(acme, scope_name="other", remarks=("unknown:acme.model.x0",), response_id="other"))
    found = {library.name: library for library in seen(empty_cast, empty_cast.alice).context["libraries"]}
    assert [(each.name, each.count) for each in found["other"].unknown] == [("acme.model.x0", 1)]
    told = {each.name: each.count for each in found["lib"].unknown}
    assert len(told) == MOST_NAMES + 1
    assert (told[OTHERS], told["acme.model.x0"], told["acme.model.x120"]) == (30, 2, 2)


def test_spans_of_a_convention_that_nobody_knows_are_told_with_their_names(empty_cast: Cast, pg: Connection) -> None:
    attributes = {"langsmith.span.kind": "llm", "langsmith.usage.input": 20, "acme.mood": "calm"}
    now_ns = call().start_ns
    span = {**sent.span(attributes), "startTimeUnixNano": str(now_ns), "endTimeUnixNano": str(now_ns + 1)}
    body = sent.body(span, scope="langsmith")
    commit(pg, *decode(OtlpBody(empty_cast.acme.pk, 7, now_ns, "application/json", body), sent.KEY))
    [library] = seen(empty_cast, empty_cast.alice).context["libraries"]
    assert {remark.name for remark in library.unknown} == set(attributes)
    assert "calm" not in seen(empty_cast, empty_cast.alice).content.decode()


# ---------------------------------------------------------------- over REST

ADDRESS = "/api/v1/conformance/"


def asked(cast: Cast, who: Any, query: str = "last=24h") -> Any:
    return cast.as_(who).get(f"{ADDRESS}?{query}")


def test_over_rest_are_the_figures_of_the_page(empty_cast: Cast, pg: Connection) -> None:
    remarks = ("unknown:gen_ai.mood", "correction:cache_proven", "flag:total_differs")
    last = reported(empty_cast.acme.pk, remarks=remarks)
    commit(pg, reported(empty_cast.acme.pk, usage=None, response_id=""), last)
    [shown] = asked(empty_cast, empty_cast.alice).json()["results"]
    example = {"count": 1, "trace_id": last.trace_id.hex(), "span_id": last.span_id.hex()}
    assert [shown[name] for name in ("library", "version", "adapter", "spans", "calls")] == [
        "lib", "1.2", "gen_ai@1", 2, 2,
    ]  # fmt: skip
    assert shown["missing"] == {"no_usage": 1, "no_model": 0, "no_provider": 0, "no_response_id": 1}
    assert shown["unknown"] == [{"name": "gen_ai.mood", "words": "", **example}]
    [correction], [flag] = shown["corrections"], shown["flags"]
    assert correction["words"].startswith("only with cached tokens beside the input")
    assert (flag["name"], flag["count"]) == ("total_differs", 1)
    [paged] = seen(empty_cast, empty_cast.alice).context["libraries"]
    assert (paged.spans, paged.calls, paged.lacks) == (2, 2, [1, 0, 0, 1])


def test_pages_of_libraries_follow_the_cursor(empty_cast: Cast, pg: Connection) -> None:
    acme = empty_cast.acme.pk
    commit(pg, *(reported(acme, scope_version=str(number), response_id=str(number)) for number in range(5)))
    client, address, found = empty_cast.as_(empty_cast.alice), f"{ADDRESS}?last=24h&limit=2", []
    while address:
        page = client.get(address).json()
        assert len(page["results"]) <= 2
        found += [each["version"] for each in page["results"]]
        address = page["next"]
    assert found == ["0", "1", "2", "3", "4"]


def test_a_cursor_that_is_none_is_refused(empty_cast: Cast) -> None:
    for cursor in ("xyz", "W10", "WzEsMiwiYSJd", "é"):
        answer = asked(empty_cast, empty_cast.alice, f"cursor={cursor}")
        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
        assert [error["field"] for error in answer.json()["errors"]] == ["cursor"]


def test_a_stranger_gets_nothing_of_it_over_rest(empty_cast: Cast, pg: Connection) -> None:
    commit(pg, reported(empty_cast.acme.pk, remarks=("unknown:gen_ai.mood",)))
    assert asked(empty_cast, empty_cast.charlie).json() == {"results": [], "next": None}
    assert asked(empty_cast, empty_cast.charlie, "tenant=acme").status_code == 404
    assert len(asked(empty_cast, empty_cast.operator).json()["results"]) == 1
    assert Client().get(ADDRESS).status_code == 401

"""Which call spans count: each response once, in whatever order and however split the reports come."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from llmobs.core.semconv import SOURCE_GATEWAY, SOURCE_OTLP
from llmobs.ingest import count_once
from llmobs.ingest.count_once import ClaimInfo, Key, claim_of, decide
from tests.ingest.otlp import captured

SECOND = 1_000_000_000
AT = 1_800_000_000 * SECOND
SDK = "com.anthropic.sdk.python"
USAGE = (10, 5)


def claim(
    span: int,
    *,
    trace: int = 1,
    parent: int | None = None,
    at: tuple[float, float] = (0, 1),
    scope: str = "library",
    response_id: str = "",
    usage: tuple[int, int] | None = USAGE,
    source: int = SOURCE_OTLP,
) -> ClaimInfo:
    return ClaimInfo(
        trace_id=trace.to_bytes(16),
        span_id=span.to_bytes(8),
        parent_span_id=None if parent is None else parent.to_bytes(8),
        start_ns=AT + int(at[0] * SECOND),
        end_ns=AT + int(at[1] * SECOND),
        source=source,
        scope_name=scope,
        yields=scope == SDK,
        response_id=response_id,
        usage=usage,
    )


def counted(*claims: ClaimInfo, parents: dict[Key, bytes | None] | None = None) -> set[int]:
    return {int.from_bytes(span_id) for _, span_id in decide(claims, parents or {})}


def test_of_a_chain_the_innermost_with_usage_counts() -> None:
    assert counted(claim(1), claim(2, parent=1), claim(3, parent=2)) == {3}


def test_a_chain_holds_over_spans_that_are_no_calls() -> None:
    between: dict[Key, bytes | None] = {((1).to_bytes(16), (9).to_bytes(8)): (1).to_bytes(8)}
    assert counted(claim(1), claim(2, parent=9), parents=between) == {2}
    assert counted(claim(1), claim(2, parent=9)) == {1, 2}


def test_siblings_are_calls_of_their_own() -> None:
    assert counted(claim(1), claim(2, parent=1), claim(3, parent=1)) == {2, 3}


def test_a_call_without_usage_inside_one_with_usage_is_the_same_call() -> None:
    assert counted(claim(1), claim(2, parent=1, usage=None)) == {1}


def test_a_failed_attempt_beside_the_one_that_answered_counts_as_a_request() -> None:
    assert counted(claim(1), claim(2, parent=1, usage=None), claim(3, parent=1)) == {2, 3}


def test_an_sdks_own_span_inside_an_instrumentations_gives_way() -> None:
    assert counted(claim(1), claim(2, parent=1, scope=SDK)) == {1}


def test_an_sdks_own_span_counts_where_it_alone_has_usage() -> None:
    assert counted(claim(1, usage=None), claim(2, parent=1, scope=SDK)) == {2}


def test_an_sdks_own_span_alone_counts() -> None:
    assert counted(claim(2, scope=SDK, response_id="msg_1")) == {2}


def test_equal_response_ids_of_two_scopes_at_one_time_are_one_call_across_traces() -> None:
    one = claim(1, response_id="msg_1")
    assert counted(one, claim(2, trace=2, scope=SDK, response_id="msg_1", at=(0.1, 0.9))) == {1}


def test_equal_response_ids_of_one_scope_are_several_answers() -> None:
    assert counted(claim(1, response_id="r"), claim(2, trace=2, response_id="r")) == {1, 2}


def test_equal_response_ids_at_different_times_are_several_answers() -> None:
    later = claim(2, trace=2, scope="other", response_id="r", at=(5, 6))
    assert counted(claim(1, response_id="r"), later) == {1, 2}


def test_a_span_without_an_id_absorbs_the_sdks_of_equal_usage_at_its_time() -> None:
    inside = claim(2, trace=2, scope=SDK, response_id="msg_1", at=(0.1, 0.9))
    assert counted(claim(1), inside) == {1}
    assert counted(claim(1), replace(inside, usage=(11, 5))) == {1, 2}
    assert counted(claim(1, at=(2, 3)), inside) == {1, 2}


def test_a_failure_seen_twice_is_one_request() -> None:
    assert counted(claim(1, usage=None), claim(2, trace=2, scope=SDK, usage=None, at=(0.1, 0.9))) == {1}


def test_the_gateways_own_span_is_authoritative_over_reports_of_its_response() -> None:
    own = claim(1, trace=2, source=SOURCE_GATEWAY, scope="", response_id="r")
    assert counted(own, claim(2, response_id="r", at=(30, 31))) == {1}


def test_what_is_around_a_report_of_the_gateways_call_repeats_it_too() -> None:
    """A framework's span has no response id; the gateway is in a trace of its own."""
    ours = claim(9, trace=2, response_id="r", source=SOURCE_GATEWAY)
    for usage in (USAGE, None):
        inner = claim(2, parent=1, response_id="r", scope="sdk", usage=usage)
        assert counted(claim(1), inner, ours) == {9}
        # What it does besides is its own.
        assert counted(claim(1), inner, claim(3, parent=1, response_id="other"), ours) == {3, 9}
    twin = claim(5, trace=3, response_id="r", scope="other", at=(0.1, 1))
    assert counted(claim(1), claim(2, parent=1, response_id="r", scope="sdk"), twin) == {2}


def test_a_report_that_has_its_id_from_around_it_is_one_with_another_of_that_id() -> None:
    """Two reports of one response, one of them around a third that tells no id: in whatever order they rank."""
    around, within = claim(1, response_id="r", scope="framework"), claim(2, parent=1, scope="sdk")
    twin = claim(9, trace=2, response_id="r", scope="other", at=(0.1, 1))
    assert counted(around, within, twin) == {2}
    deep = [claim(8, trace=2), replace(twin, parent_span_id=(8).to_bytes(8))]
    deeper = [claim(7, trace=2), replace(deep[0], parent_span_id=(7).to_bytes(8)), deep[1]]
    assert counted(around, within, *deeper) == {9}
    between = claim(3, parent=1, scope="mid")
    assert counted(around, between, replace(within, parent_span_id=(3).to_bytes(8)), *deeper) in ({9}, {2})
    ours = replace(twin, source=SOURCE_GATEWAY, scope_name="")
    assert counted(around, within, ours) == {9}
    # An answer that was nobody's, kept under an id of its own: nothing of it counts.
    assert counted(around, within, replace(ours, yields=True, usage=None)) == set()


def test_what_a_report_did_besides_is_its_own() -> None:
    around = claim(1, response_id="r", scope="framework")
    calls = [claim(n, parent=1, scope="sdk") for n in (2, 3)]
    ours = claim(9, trace=2, response_id="r", source=SOURCE_GATEWAY)
    assert len(counted(around, *calls, ours)) == 2
    assert counted(around, replace(calls[0], usage=(99, 9)), ours) == {2, 9}
    # Two answers of a cache to two callers, under one id: each trace has its own.
    other = claim(4, trace=3, response_id="r", scope="framework", at=(5, 6))
    assert counted(around, calls[0], other) == {2, 4}


def test_the_gateways_span_inside_the_applications_counts_even_without_usage() -> None:
    own = claim(2, parent=1, source=SOURCE_GATEWAY, scope="", usage=None)
    assert counted(claim(1), own) == {2}


def test_each_attempt_of_the_gateway_counts() -> None:
    first = claim(2, parent=1, source=SOURCE_GATEWAY, usage=None)
    second = claim(3, parent=1, source=SOURCE_GATEWAY, response_id="r")
    assert counted(claim(1, response_id="r"), first, second) == {2, 3}


def test_parents_in_a_circle_end() -> None:
    assert counted(claim(1, parent=2), claim(2, parent=1)) in ({1}, {2})


@pytest.mark.parametrize("case", ["traceloop-anthropic", "otel-genai-anthropic", "pydantic-ai-agent"])
@given(seed=st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_outcome_depends_on_the_set_alone(case: str, seed: object) -> None:
    spans = captured.spans(case)
    parents = {(span.trace_id, span.span_id): span.parent_span_id for span in spans}
    claims = [claim_of(span) for span in spans if span.is_call]
    expected = decide(claims, parents)
    seed.shuffle(claims)  # type: ignore[attr-defined]
    assert decide(claims, dict(reversed(parents.items()))) == expected


some = st.integers(1, 6)


@given(
    st.lists(st.tuples(some, st.none() | some, st.sampled_from(["", "", "r1", "r2", "r3", "r4"]),
                       st.sampled_from(["library", "library", "framework", SDK]),
                       st.sampled_from([SOURCE_OTLP, SOURCE_OTLP, SOURCE_GATEWAY])),
             unique_by=lambda each: each[0], max_size=5),
    st.dictionaries(st.integers(1, 9), st.none() | st.integers(1, 9), max_size=6),
)  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_those_that_are_all_alone_count_as_they_would_one_by_one(
    given_claims: list[tuple[int, int | None, str, str, int]], above: dict[int, int | None]
) -> None:
    claims = [
        claim(span, parent=parent, response_id=response_id, scope=scope, source=source)
        for span, parent, response_id, scope, source in given_claims
    ]
    parents = {
        ((1).to_bytes(16), span.to_bytes(8)): None if parent is None else parent.to_bytes(8)
        for span, parent in above.items()
    }
    at_once = decide(claims, parents)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(count_once, "_are_all_alone", lambda *_: False)
        assert at_once == decide(claims, parents)

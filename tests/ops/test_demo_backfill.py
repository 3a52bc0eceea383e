"""The week of history: the same each time, within its hours, with what the pages show."""

from collections import Counter

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from llmobs.ops.demo.backfill import HOUR_S, NS, Batch, batches, hours_before
from llmobs.ops.demo.plan import ATLAS, FORGE
from llmobs.ops.demo.trace import Row

ROWS = [Row(0.0, 100 + n, 10 + n) for n in range(50)]
MONDAY_NOON_S = 1_795_435_200  # 23 November 2026, 12:00 UTC
HOURS = hours_before(MONDAY_NOON_S + 600)


def spans_of(made: list[Batch]) -> list[Span]:
    found = []
    for batch in made:
        request = ExportTraceServiceRequest()
        request.ParseFromString(batch.body)
        found += [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
    return found


@pytest.fixture(scope="module")
def made() -> list[Batch]:
    return list(batches(ROWS, ROWS, HOURS, spans_per_week=8_000))


def test_it_ends_before_the_running_hour_and_lasts_a_week(made: list[Batch]) -> None:
    spans = spans_of(made)
    assert max(span.end_time_unix_nano for span in spans) < MONDAY_NOON_S * NS
    assert min(span.start_time_unix_nano for span in spans) >= (MONDAY_NOON_S - 168 * HOUR_S) * NS


def test_it_has_about_as_many_spans_as_asked_for(made: list[Batch]) -> None:
    assert 7_000 < sum(batch.span_count for batch in made) < 9_000
    assert sum(batch.span_count for batch in made) == len(spans_of(made))


def test_an_hour_is_the_same_in_every_run(made: list[Batch]) -> None:
    again = list(batches(ROWS, ROWS, hours_before(MONDAY_NOON_S + HOUR_S), spans_per_week=8_000))
    first, second = ({bytes(span.span_id) for span in spans_of(one)} for one in (made, again))
    assert len(first - second) < 100
    assert len(first & second) > 6_000


def test_no_two_spans_share_an_id(made: list[Batch]) -> None:
    ids = [(bytes(span.trace_id), bytes(span.span_id)) for span in spans_of(made)]
    assert len(ids) == len(set(ids))


def test_every_child_has_its_parent_and_lies_within_it(made: list[Batch]) -> None:
    spans = {(span.trace_id, span.span_id): span for span in spans_of(made)}
    children = [span for span in spans.values() if span.parent_span_id]
    assert children
    for child in children:
        parent = spans[child.trace_id, child.parent_span_id]
        assert parent.start_time_unix_nano <= child.start_time_unix_nano <= child.end_time_unix_nano
        assert child.end_time_unix_nano <= parent.end_time_unix_nano


def test_nights_and_weekends_are_quiet(made: list[Batch]) -> None:
    by_hour = Counter(span.start_time_unix_nano // NS // HOUR_S for span in spans_of(made))
    monday_ten, monday_three = (MONDAY_NOON_S - 2 * HOUR_S) // HOUR_S, (MONDAY_NOON_S - 9 * HOUR_S) // HOUR_S
    sunday_ten = monday_ten - 24
    assert by_hour[monday_ten] > 3 * by_hour[monday_three]
    assert by_hour[monday_ten] > 1.5 * by_hour[sunday_ten]


def test_it_shows_models_tools_agents_users_and_errors(made: list[Batch]) -> None:
    spans = spans_of(made)
    values: dict[str, set[str]] = {}
    for span in spans:
        for attribute in span.attributes:
            values.setdefault(attribute.key, set()).add(attribute.value.string_value)
    assert {"chat", "embeddings", "invoke_agent", "execute_tool", "invoke_workflow"} == values["gen_ai.operation.name"]
    assert len(values["gen_ai.request.model"]) >= 5
    assert {"openai", "anthropic", "gcp.gemini"} <= values["gen_ai.provider.name"]
    assert {"support", "search", "code-completion"} == values["llmobs.feature"]
    assert len(values["user.id"]) > 50
    assert values["error.type"] == {"RateLimitError", "APITimeoutError"}


def test_each_batch_belongs_to_one_tenant(made: list[Batch]) -> None:
    assert {batch.tenant for batch in made} == {ATLAS, FORGE}

"""Related claims from PostgreSQL: batch by batch, in any split and order, the outcome is that of the whole set."""

import random
from typing import Any

import psycopg
import pytest

from llmobs.core.clock import utc_from_ns
from llmobs.ingest.claims import gather, load_related
from llmobs.ingest.count_once import ClaimInfo, Key, claim_of, decide
from llmobs.spans.partitions import make_partitions
from llmobs.spans.record import Span
from tests.ingest.otlp import captured

Connection = psycopg.Connection[Any]

TENANT = 1


def write(conn: Connection, batch: list[Span]) -> None:
    """What the writer does with a batch's claims, and no more."""
    related = load_related(conn, TENANT, gather(batch))
    new = {claim.key: claim for claim in (claim_of(span) for span in batch if span.is_call)}
    claims = {**new, **{key: stored.info for key, stored in related.claims.items()}}
    counted = decide(claims.values(), related.parents)
    for span in batch:
        insert_span(conn, span)
    for claim in claims.values():
        upsert_claim(conn, claim, claim.key in counted)


def insert_span(conn: Connection, span: Span) -> None:
    texts = [
        "name",
        "operation_name",
        "status",
        "error_type",
        "status_message",
        "provider_name",
        "request_model",
        "response_model",
        "response_id",
        "price_version",
        "service",
        "environment",
        "feature",
        "user_id",
        "session_id",
        "prompt_version",
        "scope_name",
        "preview",
    ]
    numbers = ["duration_ns", "source", "held_nanousd", "key_id"]
    flags = ["is_call", "is_counted", "is_estimated", "is_stream"]
    names = [*texts, *numbers, *flags]
    values = [""] * len(texts) + [0] * len(numbers) + [False] * len(flags)
    conn.execute(
        f"INSERT INTO span (tenant_id, trace_id, span_id, parent_span_id, start, finish_reasons, attributes, "
        f"{', '.join(names)}) VALUES (%s, %s, %s, %s, %s, '{{}}', '{{}}', {', '.join(['%s'] * len(names))})",
        (TENANT, span.trace_id, span.span_id, span.parent_span_id, utc_from_ns(span.start_ns), *values),
    )


def upsert_claim(conn: Connection, claim: ClaimInfo, is_counted: bool) -> None:
    conn.execute(
        "DELETE FROM claim WHERE tenant_id = %s AND trace_id = %s AND span_id = %s",
        (TENANT, claim.trace_id, claim.span_id),
    )
    conn.execute(
        "INSERT INTO claim (tenant_id, trace_id, span_id, parent_span_id, start, finish, source, scope_name, yields, "
        f"response_id, input_tokens, output_tokens, is_counted) VALUES ({', '.join(['%s'] * 13)})",
        (TENANT, claim.trace_id, claim.span_id, claim.parent_span_id, utc_from_ns(claim.start_ns),
         utc_from_ns(claim.end_ns), claim.source, claim.scope_name, claim.yields, claim.response_id,
         *(claim.usage or (None, None)), is_counted),
    )  # fmt: skip


def counted_in(conn: Connection) -> set[Key]:
    rows = conn.execute("SELECT trace_id, span_id FROM claim WHERE tenant_id = %s AND is_counted", (TENANT,)).fetchall()
    return {(bytes(trace_id), bytes(span_id)) for trace_id, span_id in rows}


def splits(spans: list[Span], seed: int) -> list[list[Span]]:
    """The spans in some order, in batches of one to five."""
    chance = random.Random(seed)
    shuffled = chance.sample(spans, len(spans))
    batches = []
    while shuffled:
        size = chance.randint(1, 5)
        batches.append(shuffled[:size])
        shuffled = shuffled[size:]
    return batches


@pytest.fixture
def partitioned(pg: Connection) -> Connection:
    """Partitions for the days of the captures."""
    days = {utc_from_ns(span["start_ns"]).date() for case in captured.CASES for span in captured.truth(case)["spans"]}
    with pg.transaction():
        make_partitions(pg, days)
    return pg


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("case", ["traceloop-anthropic", "otel-genai-anthropic", "pydantic-ai-agent"])
def test_single_spans_in_any_order_count_as_the_whole(partitioned: Connection, case: str, seed: int) -> None:
    spans = captured.spans(case)
    parents = {(span.trace_id, span.span_id): span.parent_span_id for span in spans}
    expected = decide([claim_of(span) for span in spans if span.is_call], parents)
    for batch in splits(spans, seed):
        with partitioned.transaction():
            write(partitioned, batch)
    assert counted_in(partitioned) == expected


def test_another_tenants_claims_are_never_loaded(partitioned: Connection) -> None:
    spans = captured.spans("traceloop-anthropic")
    with partitioned.transaction():
        write(partitioned, spans)
    assert load_related(partitioned, TENANT + 1, gather(spans)).claims == {}

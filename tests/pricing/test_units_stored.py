"""What is no text, through the writer: spans, bills and roll-ups count every token, and verify recomputes the cost."""

from typing import Any

import psycopg

from llmobs.budgets import definition
from llmobs.core import semconv
from llmobs.ingest.commit import Batch, commit_batch
from llmobs.ops.verify import verify
from llmobs.pricing.book import PriceBook
from llmobs.pricing.cost import cost
from llmobs.pricing.usage import Usage, stored_usage
from llmobs.rollups.compact import compact_all
from tests.ingest.making import START_NS, call, make_tenant

Connection = psycopg.Connection[Any]

SPOKEN = Usage(100, 20, 0, 0, 50, 10, (("audio_input", 200), ("audio_output", 300)))
SEARCHED = Usage(1000, output=100, units=(("web_search", 2),))
BATCHED = Usage(1000, output=100, tier="batch")


def commit_calls(conn: Connection, **changes: Any) -> None:
    book = PriceBook()
    spans, prices = [], []
    for provider, model, usage in (
        ("openai", "gpt-audio", SPOKEN),
        ("anthropic", "claude-sonnet-4-5", SEARCHED),
        ("anthropic", "claude-sonnet-4-5", BATCHED),
    ):
        price = book.price(1, provider, model, START_NS)
        assert price is not None
        spans.append(
            call(
                provider_name=provider, request_model=model, usage=usage, cost_nanousd=cost(usage, price),
                price_version=price.version, response_id=f"{model}{usage.tier}", **changes,
            )
        )  # fmt: skip
        prices.append(price)
    commit_batch(conn, Batch(spans=spans, prices=prices), definition.load(conn))


def bills(conn: Connection, kind: str) -> list[Usage]:
    rows = conn.execute(
        "SELECT uncached_input_tokens, cache_read_input_tokens, cache_write_5m_input_tokens, "
        "cache_write_1h_input_tokens, output_tokens, reasoning_output_tokens, units, tier "
        "FROM bill WHERE kind = %s ORDER BY tier, model", (kind,)
    ).fetchall()  # fmt: skip
    return [stored_usage(row[:6], row[6], row[7]) for row in rows]


def test_bills_keep_units_and_tier_and_verify_finds_nothing(pg: Connection) -> None:
    make_tenant(pg)
    commit_calls(pg)
    assert bills(pg, "measured") == [SEARCHED, SPOKEN, BATCHED]
    assert [str(d) for d in verify(pg).differences] == []
    compact_all(pg)
    assert [str(d) for d in verify(pg).differences] == []


def test_sums_of_tokens_include_what_was_heard_and_said(pg: Connection) -> None:
    make_tenant(pg)
    commit_calls(pg)
    row = pg.execute(
        "SELECT sum(uncached_input_tokens + cache_read_input_tokens)::int, sum(output_tokens)::int FROM bill"
    ).fetchone()
    assert row == (320 + 2000, 350 + 200)
    assert pg.execute("SELECT sum(input_tokens)::int, sum(output_tokens)::int FROM span").fetchone() == row


def test_a_call_that_counts_elsewhere_is_taken_back_whole(pg: Connection) -> None:
    make_tenant(pg)
    commit_calls(pg)
    # The gateway's own reports of the same three answers: theirs are the bills from now on.
    commit_calls(pg, source=semconv.SOURCE_GATEWAY, scope_name="")
    assert [usage.negated() for usage in bills(pg, "reversal")] == [SEARCHED, SPOKEN, BATCHED]
    assert [str(d) for d in verify(pg).differences] == []


def test_a_cost_that_is_wrong_by_a_search_is_found(pg: Connection) -> None:
    make_tenant(pg)
    commit_calls(pg)
    pg.execute("UPDATE bill SET units = NULL WHERE units ? 'web_search'")
    assert {d.check for d in verify(pg).differences} == {"cost = usage × price"}

"""Reports as providers write them: fields, cents, floats, aliases of columns, and what is no report."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from llmobs.reconcile.names import common_names, family, line_item, plain_model
from llmobs.reconcile.reading import read_report
from llmobs.reconcile.rows import Parsed, ReportError

DAY = date(2026, 11, 1)
START = 1793491200  # 2026-11-01T00:00:00Z


def openai(*results: dict[str, Any]) -> Parsed:
    bucket = {"object": "bucket", "start_time": START, "end_time": START + 86_400, "results": list(results)}
    return read_report(json.dumps({"object": "page", "data": [bucket]}).encode(), "openai")


def anthropic(*results: dict[str, Any]) -> Parsed:
    bucket = {"starting_at": "2026-11-01T00:00:00Z", "ending_at": "2026-11-02T00:00:00Z", "results": list(results)}
    return read_report(json.dumps({"data": [bucket], "has_more": False, "next_page": None}).encode(), "anthropic")


def quantities(parsed: Parsed) -> dict[str, int | None]:
    return {row.token_class: row.quantity for row in parsed.rows}


def test_openais_input_holds_what_was_cached_and_heard() -> None:
    parsed = openai(
        {
            "object": "organization.usage.completions.result", "input_tokens": 5000, "input_cached_tokens": 4000,
            "output_tokens": 1000, "input_audio_tokens": 300, "output_audio_tokens": 200, "num_model_requests": 5,
            "model": "gpt-4o-mini-2024-07-18", "api_key_id": "key_abc", "batch": False, "service_tier": "default",
        }
    )  # fmt: skip
    assert quantities(parsed) == {
        "uncached_input": 700, "cache_read": 4000, "output": 800, "audio_input": 300, "audio_output": 200,
        "requests": 5,
    }  # fmt: skip
    assert {(row.day, row.key, row.tier) for row in parsed.rows} == {(DAY, "key_abc", "")}


def test_a_batch_is_a_tier() -> None:
    parsed = openai({"object": "organization.usage.completions.result", "input_tokens": 5, "batch": True})
    assert parsed.rows[0].tier == "batch"


def test_openais_costs_are_usd_as_written() -> None:
    amount = {"value": 0.0600000000000000005, "currency": "usd"}
    parsed = openai({"object": "organization.costs.result", "amount": amount, "line_item": "gpt-4o, cached input"})
    row = parsed.rows[0]
    assert (row.model, row.token_class, row.amount) == ("gpt-4o", "cache_read", Decimal(60_000_000))
    assert (parsed.kind, parsed.amount_step) == ("cost", Decimal(10_000_000))


def test_anthropics_costs_are_cents_as_text() -> None:
    parsed = anthropic(
        {
            "amount": "123.78912", "currency": "USD", "cost_type": "tokens", "model": "claude-opus-4-5",
            "service_tier": "batch", "token_type": "cache_creation.ephemeral_1h_input_tokens",
            "description": "Claude Opus 4.5 Usage", "context_window": "0-200k", "workspace_id": None,
        },
        {"amount": "50", "currency": "USD", "cost_type": "web_search", "token_type": None, "model": None},
        {"amount": "7", "currency": "USD", "cost_type": "code_execution"},
    )  # fmt: skip
    assert [(row.token_class, row.tier, row.amount) for row in parsed.rows] == [
        ("cache_write_1h", "batch", Decimal("1237891200")),
        ("web_search", "", Decimal(500_000_000)),
        ("other", "", Decimal(70_000_000)),
    ]


def test_anthropics_classes_are_apart() -> None:
    parsed = anthropic(
        {
            "uncached_input_tokens": 1, "cache_read_input_tokens": 2,
            "cache_creation": {"ephemeral_1h_input_tokens": 3, "ephemeral_5m_input_tokens": 4}, "output_tokens": 5,
            "server_tool_use": {"web_search_requests": 6}, "model": "claude-opus-4-5", "api_key_id": "apikey_1",
        }
    )  # fmt: skip
    assert quantities(parsed) == {
        "uncached_input": 1, "cache_read": 2, "cache_write_1h": 3, "cache_write_5m": 4, "output": 5, "web_search": 6,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("{", "no JSON"),
        ('{"data": []}', "has no bucket"),
        ('{"data": [{"start": 1}]}', "neither"),
        ('{"data": [{"start_time": 1793491200, "end_time": 1793750400, "results": []}]}', "longer than a day"),
        ('{"data": [{"start_time": 1793491200, "end_time": 1793577600, "results": []}]}', "no result at all"),
        ('{"data": [{"start_time": 1793491200, "end_time": 1793577600, "results": [{"object": "x"}]}]}', "'x'"),
        ('{"data": [{"starting_at": "x", "ending_at": "y", "results": []}]}', "no time such as"),
        ('{"data": [{"start_time": 1793491200, "end_time": 1793577600, "results": [{"input_tokens": -1}]}]}', "no count"),  # noqa: E501
        ("usage_date_utc,model,token_type,cost_usd\n2026-11-01,m,output,1\n", "a report of anthropic"),
        ("date,line_item,amount,colour\n2026-11-01,x,1,red\n", "'colour' is not known"),
        ("date,line_item,amount\n2026-11-01,x\n", "Line 2 has more or fewer fields"),
        ("date,line_item,amount\nyesterday,x,1\n", "Line 2: 'yesterday' is no day"),
        ("date,line_item,amount\n2026-11-01,x,much\n", "Line 2: amount.value is 'much'"),
        ("date,line_item,amount,currency\n2026-11-01,x,1,eur\n", "are in 'eur'"),
        ("date,line_item,amount\n", "no line"),
        ("a,b\n1,2\n", "of no report that is known"),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(ReportError, match=said.replace("(", r"\(")):
        read_report(text.encode(), "openai")


def test_a_console_export_is_read_by_its_columns() -> None:
    text = (
        "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
        "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
        "usage_output_tokens,web_search_count,inference_geo,speed\n"
        '2026-11-01,claude-sonnet-4-20250514,prod,Default,message_batches,≤ 200k,"100,000",7,0,0,5000,10,,\n'
    )
    parsed = read_report(text.encode(), "anthropic")
    assert quantities(parsed) == {"uncached_input": 100_000, "cache_write_5m": 7, "output": 5000, "web_search": 10}
    assert {(row.key, row.tier) for row in parsed.rows} == {("prod", "batch")}


def test_a_day_without_anything_is_told_too() -> None:
    text = "start_time,end_time,amount_value,amount_currency,line_item\n1793491200,1793577600,,,\n"
    parsed = read_report(text.encode(), "openai")
    assert (parsed.days, parsed.rows) == ({DAY}, [])


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("gpt-4o-2024-08-06, input", ("gpt-4o-2024-08-06", "", "uncached_input")),
        ("ft-gpt-4o-2024-08-06:acme, cached input", ("ft-gpt-4o-2024-08-06:acme", "", "cache_read")),
        ("gpt-4o-mini-2024-07-18 (batch), output", ("gpt-4o-mini-2024-07-18", "batch", "output")),
        ("evals | gpt-4o, input", ("gpt-4o", "", "uncached_input")),
        ("gpt-4o-audio-preview, audio output", ("gpt-4o-audio-preview", "", "audio_output")),
        ("web search tool calls", ("", "", "web_search")),
        ("assistants api | file search storage", ("", "", "other")),
        ("Credit grant, November", ("", "", "other")),
    ],
)
def test_line_items_say_model_tier_and_class(line: str, found: tuple[str, str, str]) -> None:
    assert line_item(line) == found


def test_snapshots_and_aliases_come_together_unless_both_sides_tell_them_apart() -> None:
    assert family("claude-sonnet-4-5-20250929") == "claude-sonnet-4-5"
    names = common_names(["gpt-4o-2024-08-06", "o3-2025-04-16"], ["gpt-4o", "o3-2025-04-16"], {})
    assert names["gpt-4o-2024-08-06"] == names["gpt-4o"] == "gpt-4o"
    assert names["o3-2025-04-16"] == "o3-2025-04-16"
    assert common_names(["Claude Haiku 3.5"], ["claude-3-5-haiku"], {"Claude Haiku 3.5": "claude-3-5-haiku"}) == {
        "Claude Haiku 3.5": "claude-3-5-haiku", "claude-3-5-haiku": "claude-3-5-haiku",
    }  # fmt: skip
    assert plain_model("Claude Sonnet 4.5") == "claude-sonnet-4-5"


COSTS = "date,line_item,amount,quantity\n"
OPENS = 1_790_035_200


@pytest.mark.parametrize(
    "text",
    [
        COSTS + "2026-10-02,x,100000000000,1\n",
        COSTS + f"{'9' * 5000},x,1,1\n",
        COSTS + "0001-01-01T00:00:00+23:59,x,1,1\n",
        COSTS + "9999-12-31,x,1,1\n",
        '{"data":[{"start_time":' + "9" * 5000 + "}]}",
        '{"data":[{"start_time":4102444800,"end_time":4102531200,"results":[]}]}',
        f'{{"data":[{{"start_time":{OPENS},"end_time":{OPENS + 86400},"results":'
        '[{"line_item":"x","amount":{"value":"99999999999","currency":"usd"}}]}]}',
    ],
)
def test_amounts_and_times_that_no_bill_has_are_told(text: str) -> None:
    with pytest.raises(ReportError):
        read_report(text.encode(), "openai")


def test_what_no_table_holds_is_left_out() -> None:
    (row,) = read_report(f"{COSTS}2026-10-02,a\x00b,1,{'9' * 900_000}\n".encode(), "openai").rows
    assert (row.line_item, row.quantity) == ("ab", None)
    result = '{"model":"\\ud800","input_tokens":1}'
    given = f'{{"data":[{{"start_time":{OPENS},"end_time":{OPENS + 86400},"results":[{result}]}}]}}'
    assert {row.model for row in read_report(given.encode(), "openai").rows} == {"?"}

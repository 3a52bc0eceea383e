"""OpenAI's organization reports: `/v1/organization/usage/completions`, `…/embeddings` and `/v1/organization/costs`.

Fields as the API reference has them (2026): a usage result has `input_tokens` with all that was read, of which
`input_cached_tokens` came from the cache, `input_cache_write_tokens` went into it and `input_audio_tokens` are sound;
`output_tokens` with `output_audio_tokens` in it; `num_model_requests`; and the dimensions it was grouped by. A cost has
`amount.value` in USD, as a float, and with `group_by=line_item` a `line_item`: "gpt-4o-2024-08-06, cached input".
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from llmobs.reconcile import fields, names, rows
from llmobs.reconcile.rows import COST, USAGE, Parsed, ReportError, Row

_USAGE = ("organization.usage.completions.result", "organization.usage.embeddings.result")
_COSTS = "organization.costs.result"


def parse(buckets: Iterable[Mapping[str, Any]]) -> Parsed:
    """Buckets of one kind. Raises ReportError."""
    found = Parsed("openai", "", "")
    for bucket in buckets:
        start = fields.seconds(bucket.get("start_time"), "start_time")
        (day,) = fields.days_of(start, fields.seconds(bucket.get("end_time"), "end_time"))
        found.days.add(day)
        for result in _results(bucket):
            kind = _kind(result)
            if found.kind and found.kind != kind:
                raise ReportError("Usage and costs are two reports: import one after the other.")
            found.kind, found.form = kind, f"OpenAI {kind}, JSON"
            found.rows += _usage(day, result) if kind == USAGE else [_cost(day, result)]
    if not found.kind:
        raise ReportError("The report has no result at all: nobody can tell whether it is one of usage or of costs.")
    return found


def usage_rows(day: date, result: Mapping[str, int], where: dict[str, Any]) -> list[Row]:
    """Counts as OpenAI gives them, as disjoint classes."""
    audio, cached_audio = result.get("input_audio_tokens", 0), result.get("input_cached_audio_tokens", 0)
    cached, written = result.get("input_cached_tokens", 0), result.get("input_cache_write_tokens", 0)
    uncached = result.get("input_tokens", 0) - cached - written
    fresh_audio = max(0, audio - cached_audio)
    audio_output = result.get("output_audio_tokens", 0)
    counts = {
        # Older reports count text alone in input_tokens: then the sound comes on top.
        rows.UNCACHED: uncached - fresh_audio if uncached >= fresh_audio else uncached,
        rows.CACHE_READ: cached - min(cached, cached_audio),
        rows.WRITE_5M: written,
        rows.OUTPUT: result.get("output_tokens", 0) - min(audio_output, result.get("output_tokens", 0)),
        rows.AUDIO_INPUT: fresh_audio,
        rows.AUDIO_CACHE_READ: min(cached, cached_audio),
        rows.AUDIO_OUTPUT: audio_output,
        rows.REQUESTS: result.get("num_model_requests", 0),
    }
    if uncached < 0:
        raise ReportError(f"{day}: input_cached_tokens are more than input_tokens.")
    return [Row(day, token_class=name, quantity=n, **where) for name, n in counts.items() if n]


def cost_row(day: date, line: str, usd: Any, where: dict[str, Any], quantity: int | None = None) -> Row:
    """A line of the costs."""
    model, tier, token_class = names.line_item(line)
    told = quantity if token_class != rows.OTHER else None
    amount = rows.nanousd(fields.amount(usd, "amount.value"))
    return Row(day, model, tier=tier, token_class=token_class, quantity=told, amount=amount, line_item=line, **where)


def _results(bucket: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = bucket.get("results", bucket.get("result"))
    if not isinstance(found, list) or not all(isinstance(result, dict) for result in found):
        raise ReportError("A bucket of OpenAI's has a list of results.")
    return found


def _kind(result: Mapping[str, Any]) -> str:
    name = result.get("object")
    if name == _COSTS or (name is None and "amount" in result):
        return COST
    if name in _USAGE or (name is None and "input_tokens" in result):
        return USAGE
    raise ReportError(f"A result is {name!r}; known are {', '.join((*_USAGE, _COSTS))}.")


def _usage(day: date, result: Mapping[str, Any]) -> list[Row]:
    counted = {name: fields.count(result, name) for name in result if name.endswith("_tokens")}
    counted["num_model_requests"] = fields.count(result, "num_model_requests")
    batch = result.get("batch")
    where: dict[str, Any] = {
        "model": fields.text(result, "model"),
        "key": fields.text(result, "api_key_id"),
        "workspace": fields.text(result, "project_id"),
        "tier": names.tier_of("true" if batch is True else "", fields.text(result, "service_tier")),
    }
    return usage_rows(day, counted, where)


def _cost(day: date, result: Mapping[str, Any]) -> Row:
    amount = result.get("amount")
    if not isinstance(amount, dict):
        raise ReportError("A cost has an amount with value and currency.")
    fields.currency(amount.get("currency"))
    where: dict[str, Any] = {"key": fields.text(result, "api_key_id"), "workspace": fields.text(result, "project_id")}
    return cost_row(day, fields.text(result, "line_item"), amount.get("value"), where, _tokens(result))


def _tokens(result: Mapping[str, Any]) -> int | None:
    """`quantity` is a float in JSON; tokens are whole."""
    if result.get("quantity") is None:
        return None
    found = fields.amount(result["quantity"], "quantity")
    return int(found) if found == found.to_integral_value() and abs(found) < fields.MOST else None

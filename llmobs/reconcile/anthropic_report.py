"""Anthropic's Admin API: `/v1/organizations/usage_report/messages` and `/v1/organizations/cost_report`.

Fields as the API reference has them (2026): a usage result has `uncached_input_tokens`, `cache_read_input_tokens`,
`cache_creation` with `ephemeral_5m_input_tokens` and `ephemeral_1h_input_tokens`, `output_tokens` and `server_tool_use`
with `web_search_requests`; it counts no requests. A cost has `amount` in cents, as a decimal string, and with
`group_by[]=description` the `cost_type`, `token_type`, `model` and `service_tier`. Priority tier is not in the costs.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from llmobs.reconcile import fields, names, rows
from llmobs.reconcile.rows import COST, USAGE, Parsed, ReportError, Row

_COST_TYPES = {"web_search": rows.WEB_SEARCH}


def parse(buckets: Iterable[Mapping[str, Any]]) -> Parsed:
    """Buckets of one kind. Raises ReportError."""
    found = Parsed("anthropic", "", "")
    for bucket in buckets:
        start = fields.moment(bucket.get("starting_at"), "starting_at")
        (day,) = fields.days_of(start, fields.moment(bucket.get("ending_at"), "ending_at"))
        found.days.add(day)
        results = bucket.get("results")
        if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
            raise ReportError("A bucket of Anthropic's has a list of results.")
        for result in results:
            kind = COST if "amount" in result else USAGE
            if found.kind and found.kind != kind:
                raise ReportError("Usage and costs are two reports: import one after the other.")
            found.kind, found.form = kind, f"Anthropic {kind}, JSON"
            found.rows += _usage(day, result) if kind == USAGE else [_cost(day, result)]
    if not found.kind:
        raise ReportError("The report has no result at all: nobody can tell whether it is one of usage or of costs.")
    return found


def _usage(day: date, result: Mapping[str, Any]) -> list[Row]:
    if "output_tokens" not in result:
        raise ReportError("A result has neither an amount nor output_tokens.")
    written, tools = _object(result, "cache_creation"), _object(result, "server_tool_use")
    counts = {
        rows.UNCACHED: fields.count(result, "uncached_input_tokens"),
        rows.CACHE_READ: fields.count(result, "cache_read_input_tokens"),
        rows.WRITE_5M: fields.count(written, "ephemeral_5m_input_tokens"),
        rows.WRITE_1H: fields.count(written, "ephemeral_1h_input_tokens"),
        rows.OUTPUT: fields.count(result, "output_tokens"),
        rows.WEB_SEARCH: fields.count(tools, "web_search_requests"),
    }
    where: dict[str, Any] = {
        "model": fields.text(result, "model"),
        "key": fields.text(result, "api_key_id"),
        "workspace": fields.text(result, "workspace_id"),
        "tier": names.tier_of(fields.text(result, "service_tier")),
    }
    return [Row(day, token_class=name, quantity=n, **where) for name, n in counts.items() if n]


def _cost(day: date, result: Mapping[str, Any]) -> Row:
    fields.currency(result.get("currency"))
    cents = fields.amount(result["amount"], "amount")
    kind, token_type = fields.text(result, "cost_type"), fields.text(result, "token_type")
    if token_type and token_type not in names.TOKEN_TYPES:
        raise ReportError(f"token_type is {token_type!r}; known are {', '.join(names.TOKEN_TYPES)}.")
    return Row(
        day,
        model=fields.text(result, "model"),
        workspace=fields.text(result, "workspace_id"),
        tier=names.tier_of(fields.text(result, "service_tier")),
        token_class=names.TOKEN_TYPES[token_type] if token_type else _COST_TYPES.get(kind, rows.OTHER),
        amount=rows.nanousd(cents / 100),
        line_item=fields.text(result, "description") or kind,
    )


def _object(result: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = result.get(name)
    if found is not None and not isinstance(found, dict):
        raise ReportError(f"{name} is {found!r}, no object.")
    return found or {}

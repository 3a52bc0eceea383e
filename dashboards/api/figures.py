"""Figures over REST: `metrics/` out of the roll-ups. `usage/`, out of the bills, is in `dashboards.api.usage`."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from dashboards.api.asked import Figures
from dashboards.api.traces import slugs_of, usd
from dashboards.queries.costs import key_names
from dashboards.queries.quality import quality
from dashboards.queries.rollup import COLUMNS, FIGURES, Totals, latencies, totals
from dashboards.queries.scope import Cursor, Scope
from dashboards.reading import figures
from llmobs.tenants.problem import TooLarge

INTERVALS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
TTFT_QUANTILES = {f"ttft_{name}": q for name, q in QUANTILES.items()}
QUANTILES_OF = {"duration": QUANTILES, "ttft": TTFT_QUANTILES}
SUMS: dict[str, Callable[[Totals], Any]] = {
    "cost_usd": lambda row: None if row.calls and row.calls == row.unpriced_calls else usd(row.cost_nanousd),
    "estimated_cost_usd": lambda row: usd(row.estimated_nanousd),
    "requests": lambda row: row.calls,
    "errors": lambda row: row.errors,
    "calls": lambda row: row.asked,
    "failed_calls": lambda row: row.failed,
    "cached_calls": lambda row: row.cached_calls,
    "cache_hit_rate": lambda row: None if row.cache_hit_rate is None else round(row.cache_hit_rate, 6),
    "saved_usd": lambda row: usd(row.saved_nanousd),
    "tokens_per_second": lambda row: None if row.tokens_per_second is None else round(row.tokens_per_second, 3),
    "degraded": lambda row: row.degraded,
    "refused": lambda row: row.refused,
    "unpriced_requests": lambda row: row.unpriced_calls,
    "input_tokens": lambda row: row.input_tokens,
    "output_tokens": lambda row: row.output_tokens,
}
METRICS = (*SUMS, *QUANTILES, *TTFT_QUANTILES, "quality")
GROUPS = tuple(COLUMNS)
MOST_BUCKETS = 10_000
MOST_ROWS = 50_000


class MetricsShown(serializers.Serializer):
    """One row per group and bucket: `at` (with an interval), the groups by name, the metrics by name."""

    results = serializers.ListField(child=serializers.DictField())
    next = serializers.URLField(allow_null=True)


class Metrics(Figures):
    """Sums and latencies over time and by dimension.

    `requests` and `errors` count each attempt at a provider, and answers without any; `calls` and `failed_calls` what
    clients asked, however often it was tried (by provider, model, status or error both are the same). `cache_hit_rate`
    is the share of calls that the gateway answered out of its cache, `saved_usd` what these would have cost;
    `tokens_per_second` is of streams, after their first token; `quality` the judges' mean score, 1 to 10.
    """

    @extend_schema(
        parameters=[
            OpenApiParameter("metric", OpenApiTypes.STR, description=f"any of {', '.join(METRICS)}, comma-separated"),
            OpenApiParameter("group_by", OpenApiTypes.STR, description=f"any of {', '.join(GROUPS)}"),
            OpenApiParameter("interval", OpenApiTypes.STR, enum=list(INTERVALS)),
            *(OpenApiParameter(name, OpenApiTypes.STR) for name in ("tenant", "from", "to", "last", *COLUMNS)),
        ],
        responses=MetricsShown,
    )
    def get(self, request: Request) -> Response:
        wanted = self._names("metric", METRICS) or ["cost_usd", "requests"]
        groups = self._names("group_by", GROUPS)
        scope, size = self.scope(), self._interval()
        if scope.filters.needs_traces:
            raise ValidationError("Metrics are not kept by user, session or words; use usage/ or traces/.")
        if size is not None and scope.window.length / size > MOST_BUCKETS:
            raise ValidationError({"interval": f"More than {MOST_BUCKETS} buckets; ask for a longer interval."})
        with figures(self.request) as cursor:
            rows = _rows(cursor, scope, wanted, groups, size)
            if len(rows) > MOST_ROWS:
                raise TooLarge(f"More than {MOST_ROWS} rows; narrow the window or group by less.")
            return Response({"results": _shown(cursor, rows, groups, size), "next": None})

    def _names(self, parameter: str, known: tuple[str, ...]) -> list[str]:
        given = [name.strip() for name in self.request.query_params.get(parameter, "").split(",") if name.strip()]
        for name in given:
            if name not in known:
                raise ValidationError({parameter: f"{name[:60]!r} is none of {', '.join(known)}."})
        return list(dict.fromkeys(given))

    def _interval(self) -> timedelta | None:
        name = self.request.query_params.get("interval", "")
        if name and name not in INTERVALS:
            raise ValidationError({"interval": f"One of {', '.join(INTERVALS)}."})
        return INTERVALS.get(name)


Key = tuple[datetime | None, tuple[Any, ...]]


def _rows(
    cursor: Cursor, scope: Scope, wanted: list[str], groups: list[str], size: timedelta | None
) -> dict[Key, dict[str, Any]]:
    """Metrics by bucket and group. Groups without a value for a latency have null there."""
    rows: dict[Key, dict[str, Any]] = {}
    empty = dict.fromkeys(wanted)
    over_time = size is not None
    asked = [(of, {name: q for name, q in known.items() if name in wanted}) for of, known in QUANTILES_OF.items()]
    asked = [(of, names) for of, names in asked if names]
    sums = {name: SUMS[name] for name in wanted if name in SUMS}
    # Sums of no use are not asked for, if the sketches tell all groups as well (of many, that is half the time).
    has_sums = bool(sums) or not asked or not over_time
    if has_sums:
        only = FIGURES if sums else ()  # else groups alone
        for row in totals(cursor, scope, groups, over_time, size, only):
            rows[row.at, row.key] = {**empty, **{name: figure(row) for name, figure in sums.items()}}
    for number, (of, names) in enumerate(asked):
        with_empty = not (has_sums or number)
        found = latencies(cursor, scope, groups, over_time, of, bucket=size, with_empty=with_empty)
        columns = [(name, _rounded(found[0].of.quantiles_ms(q))) for name, q in names.items()] if found else []
        for latency in found:
            metrics = rows.get(key := (latency.at, latency.key))
            if metrics is None:
                metrics = rows[key] = empty.copy()
            for name, values in columns:
                metrics[name] = values[latency.group]
    if "quality" in wanted:
        for judged in quality(cursor, scope, groups, size):
            rows.setdefault((judged.at, judged.key), dict(empty))["quality"] = round(judged.mean, 3)
    return rows


def _rounded(values: list[float | None]) -> list[float | None]:
    """To three places: of many values that are few different ones."""
    known = {ms: ms if ms is None else round(ms, 3) for ms in set(values)}
    return [known[ms] for ms in values]


def _shown(
    cursor: Cursor, rows: dict[Key, dict[str, Any]], groups: list[str], size: timedelta | None
) -> list[dict[str, Any]]:
    names: dict[str, Mapping[int, str]] = {}
    for index, group in enumerate(groups):
        if group in ("tenant", "key"):
            ids = {key[index] for _, key in rows}
            names[group] = slugs_of(ids) if group == "tenant" else key_names(cursor, list(ids))

    named = [(group, names.get(group)) for group in groups]
    shown = []
    for (at, key), metrics in rows.items():
        told = zip(named, key, strict=True)
        values = {group: raw or None if known is None else known.get(raw) for (group, known), raw in told}
        shown.append({**values, **metrics} if size is None else {"at": at, **values, **metrics})
    return shown

"""What calls of each version of a prompt came to: calls, errors, cost, latency, tokens and scores, from raw spans.

A call is the topmost span of its trace that names the version: the attempts below it are its own, their money and
tokens are added to it. A call that we refused is not one of the version's. Calls that name a version themselves
(`greet@2`) count as that version's, too: a span says what was asked, not why.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from math import sqrt
from typing import Any

import psycopg

from llmobs.core.money import exact_usd
from llmobs.core.semconv import ERROR_STATUSES, REFUSED
from llmobs.spans.shown import SOME_SHOWN

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Result:
    """One version's figures. `score`: the judges' mean of `judged` scores, with their standard deviation; `scores`:
    mean and count of each name of a score, whoever gave it.
    """

    calls: int = 0
    errors: int = 0
    cost_nanousd: int = 0
    unpriced: int = 0
    p95_ms: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    score: float | None = None
    score_deviation: float | None = None
    judged: int = 0
    scores: dict[str, dict[str, float | int]] = field(default_factory=dict)

    @property
    def error_rate(self) -> float | None:
        return self.errors / self.calls if self.calls else None

    @property
    def p95_ns(self) -> int | None:
        return None if self.p95_ms is None else round(self.p95_ms * 1e6)

    @property
    def cost_per_call_nanousd(self) -> int | None:
        return -(-self.cost_nanousd // self.calls) if self.calls else None


def results(
    conn: Connection, tenant_ids: Sequence[int], versions: Sequence[str], start: datetime, end: datetime
) -> dict[tuple[int, str], Result]:
    """Figures of these versions ("greet@3") of these tenants, from `start` up to `end`; those without calls are not
    in it.
    """
    values = {
        "tenants": list(tenant_ids),
        "start": start,
        "end": end,
        "versions": list(versions),
        "errors": sorted(ERROR_STATUSES),
        "refused": REFUSED,
    }
    marks: dict[tuple[int, str], list[Any]] = {}
    for tenant_id, version, *mark in conn.execute(_SCORES, values).fetchall():
        marks.setdefault((tenant_id, version), []).append(mark)
    return {
        (tenant_id, version): Result(*figures, **_scored(marks.get((tenant_id, version), [])))
        for tenant_id, version, *figures in conn.execute(_FIGURES, values).fetchall()
    }


def _scored(marks: list[Any]) -> dict[str, Any]:
    """What scores say. A mark: name, mean and count of all; count, sum and sum of squares of the judges'."""
    scores = {name: {"mean": round(float(mean), 4), "count": count} for name, mean, count, *_ in marks}
    judged = sum(mark[3] for mark in marks)
    if not judged:
        return {"scores": scores}
    total, squares = sum(float(mark[4] or 0) for mark in marks), sum(float(mark[5] or 0) for mark in marks)
    spread = sqrt(max(squares - total * total / judged, 0.0) / (judged - 1)) if judged > 1 else None
    return {
        "score": round(total / judged, 4),
        "score_deviation": None if spread is None else round(spread, 4),
        "judged": judged,
        "scores": scores,
    }


def results_json(
    conn: Connection, tenant_id: int, name: str, start: datetime, end: datetime, numbers: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """Figures of one prompt's versions as JSON has them: money as a decimal string, null where nothing is known."""
    found = results(conn, (tenant_id,), [f"{name}@{number}" for number in numbers], start, end)
    return {number: _json(number, found.get((tenant_id, f"{name}@{number}"), Result())) for number in numbers}


def _json(number: int, result: Result) -> dict[str, Any]:
    told = asdict(result)
    rate, per_call = result.error_rate, result.cost_per_call_nanousd
    return {
        "version": number,
        "error_rate": None if rate is None else round(rate, 6),
        "cost_usd": exact_usd(told.pop("cost_nanousd")),
        "cost_per_call_usd": None if per_call is None else exact_usd(per_call),
        **told,
    }


_SPANS = f"""
WITH named AS MATERIALIZED (
    SELECT tenant_id, trace_id, span_id, parent_span_id, prompt_version, status, duration_ns,
        shown_nanousd AS cost_nanousd, is_call, input_tokens, output_tokens
    FROM {SOME_SHOWN} span
    WHERE tenant_id = ANY(%(tenants)s) AND start >= %(start)s AND start < %(end)s
        AND prompt_version <> '' AND prompt_version = ANY(%(versions)s)
), call AS (
    SELECT named.*, NOT EXISTS (
        SELECT FROM named above WHERE above.tenant_id = named.tenant_id AND above.trace_id = named.trace_id
            AND above.span_id = named.parent_span_id
    ) AND status <> %(refused)s AS is_topmost
    FROM named
)
"""  # noqa: S608 (a constant of spans.shown; values are bound)
_FIGURES = (
    _SPANS
    + """
SELECT tenant_id, prompt_version,
    count(*) FILTER (WHERE is_topmost),
    count(*) FILTER (WHERE is_topmost AND status = ANY(%(errors)s)),
    coalesce(sum(cost_nanousd), 0)::bigint,
    count(*) FILTER (WHERE is_call AND input_tokens IS NOT NULL AND cost_nanousd IS NULL),
    (percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ns) FILTER (WHERE is_topmost) / 1e6)::float8,
    coalesce(sum(input_tokens) FILTER (WHERE is_call), 0)::bigint,
    coalesce(sum(output_tokens) FILTER (WHERE is_call), 0)::bigint
FROM call GROUP BY tenant_id, prompt_version
"""
)
# A score of a trace as a whole is its call's, a score of a span that span's.
_SCORES = (
    _SPANS
    + """
SELECT call.tenant_id, call.prompt_version, score.name, avg(score.value), count(*),
    count(*) FILTER (WHERE score.source = 'judge'), sum(score.value) FILTER (WHERE score.source = 'judge'),
    sum(score.value * score.value) FILTER (WHERE score.source = 'judge')
FROM evals_score score
JOIN call ON call.tenant_id = score.tenant_id AND call.trace_id = score.trace_id
    AND (call.span_id = score.span_id OR (score.span_id IS NULL AND call.is_topmost))
WHERE score.tenant_id = ANY(%(tenants)s) AND score.value IS NOT NULL
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
)

"""What calls of each version of a prompt came to: calls, errors, cost, latency, tokens and scores, from raw spans.

A call is the topmost span of its trace that names the version: the attempts below it are its own, their money and
tokens are added to it. A call that we refused is not one of the version's. Calls that name a version themselves
(`greet@2`) count as that version's, too: a span says what was asked, not why.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from llmobs.core.money import exact_usd
from llmobs.core.semconv import ERROR_STATUSES, REFUSED


@dataclass(frozen=True)
class Result:
    """One version's figures. `score`: the judges' mean; `scores`: mean and count of each name of a score."""

    calls: int = 0
    errors: int = 0
    cost_nanousd: int = 0
    unpriced: int = 0
    p95_ms: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    score: float | None = None
    scores: dict[str, dict[str, float | int]] = field(default_factory=dict)


def results(
    conn: psycopg.Connection[Any],
    tenant_id: int,
    name: str,
    start: datetime,
    end: datetime,
    numbers: Sequence[int],
) -> dict[int, Result]:
    """Figures of each of these versions, from `start` up to `end`."""
    versions = {f"{name}@{number}": number for number in numbers}
    values = {
        "tenant": tenant_id,
        "start": start,
        "end": end,
        "versions": list(versions),
        "errors": sorted(ERROR_STATUSES),
        "refused": REFUSED,
    }
    scores: dict[int, dict[str, dict[str, float | int]]] = {}
    judged: dict[int, list[tuple[float, int]]] = {}
    for version, score_name, mean, count, judges_sum, judges_count in conn.execute(_SCORES, values).fetchall():
        number = versions[version]
        scores.setdefault(number, {})[score_name] = {"mean": round(float(mean), 4), "count": count}
        judged.setdefault(number, []).append((float(judges_sum or 0), judges_count))
    found = dict.fromkeys(numbers, Result())
    for version, calls, errors, cost, unpriced, p95_ms, given, answered in conn.execute(_FIGURES, values).fetchall():
        number = versions[version]
        found[number] = Result(
            calls, errors, cost, unpriced, p95_ms, given, answered, _mean(judged.get(number, [])),
            scores.get(number, {}),
        )  # fmt: skip
    return found


def _mean(sums: list[tuple[float, int]]) -> float | None:
    count = sum(count for _, count in sums)
    return round(sum(total for total, _ in sums) / count, 4) if count else None


def results_json(
    conn: psycopg.Connection[Any],
    tenant_id: int,
    name: str,
    start: datetime,
    end: datetime,
    numbers: Sequence[int],
) -> dict[int, dict[str, Any]]:
    """The same as JSON has it: money as a decimal string, rates beside counts, null where nothing is known."""
    found = results(conn, tenant_id, name, start, end, numbers)
    return {number: _json(number, result) for number, result in found.items()}


def _json(number: int, result: Result) -> dict[str, Any]:
    told = asdict(result)
    cost = told.pop("cost_nanousd")
    return {
        "version": number,
        **told,
        "error_rate": round(result.errors / result.calls, 6) if result.calls else None,
        "cost_usd": exact_usd(cost),
        "cost_per_call_usd": exact_usd(-(-cost // result.calls)) if result.calls else None,
    }


_SPANS = """
WITH named AS MATERIALIZED (
    SELECT trace_id, span_id, parent_span_id, prompt_version, status, duration_ns, cost_nanousd, is_call,
        input_tokens, output_tokens
    FROM span
    WHERE tenant_id = %(tenant)s AND start >= %(start)s AND start < %(end)s
        AND prompt_version <> '' AND prompt_version = ANY(%(versions)s)
), call AS (
    SELECT named.*, NOT EXISTS (
        SELECT FROM named above WHERE above.trace_id = named.trace_id AND above.span_id = named.parent_span_id
    ) AND status <> %(refused)s AS is_topmost
    FROM named
)
"""
_FIGURES = (
    _SPANS
    + """
SELECT prompt_version,
    count(*) FILTER (WHERE is_topmost),
    count(*) FILTER (WHERE is_topmost AND status = ANY(%(errors)s)),
    coalesce(sum(cost_nanousd), 0)::bigint,
    count(*) FILTER (WHERE is_call AND input_tokens IS NOT NULL AND cost_nanousd IS NULL),
    (percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ns) FILTER (WHERE is_topmost) / 1e6)::float8,
    coalesce(sum(input_tokens) FILTER (WHERE is_call), 0)::bigint,
    coalesce(sum(output_tokens) FILTER (WHERE is_call), 0)::bigint
FROM call GROUP BY prompt_version
"""
)
# A score of a trace as a whole is its call's, a score of a span that span's.
_SCORES = (
    _SPANS
    + """
SELECT call.prompt_version, score.name, avg(score.value), count(*),
    sum(score.value) FILTER (WHERE score.source = 'judge'), count(*) FILTER (WHERE score.source = 'judge')
FROM evals_score score
JOIN call ON call.trace_id = score.trace_id
    AND (call.span_id = score.span_id OR (score.span_id IS NULL AND call.is_topmost))
WHERE score.tenant_id = %(tenant)s AND score.value IS NOT NULL
GROUP BY 1, 2 ORDER BY 1, 2
"""
)

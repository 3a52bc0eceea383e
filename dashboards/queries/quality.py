"""How good answers were: the mean of what judges gave them, by the dimensions of the calls and when these began."""

# ruff: noqa: S608 - names in the SQL are constants of this module, values are always bound

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dashboards.queries.rollup import BIN_ORIGIN, COLUMNS
from dashboards.queries.scope import Cursor, Scope
from dashboards.window import DAY
from llmobs.core.semconv import SOURCE_GATEWAY

# As `Span.model` says: of our own gateway's calls the one that was sent upstream, else who answered.
MODEL = (
    f"CASE WHEN s.source = {SOURCE_GATEWAY} THEN coalesce(nullif(s.request_model, ''), s.response_model) "
    "ELSE coalesce(nullif(s.response_model, ''), s.request_model) END"
)


@dataclass(frozen=True)
class Quality:
    """A group's mean score, 1 to 10, and of how many answers."""

    key: tuple[Any, ...]
    at: datetime | None
    mean: float
    scores: int


def quality(cursor: Cursor, scope: Scope, by: Sequence[str] = (), bucket: timedelta | None = None) -> list[Quality]:
    """By dimensions (names of `rollup.COLUMNS`) and, if asked, by buckets. People's thumbs have another scale."""
    columns = {name: MODEL if name == "model" else f"s.{column}" for name, column in COLUMNS.items()}
    at = "NULL::timestamptz"
    parameters: list[Any] = []
    if bucket == DAY:
        at, parameters = "date_trunc('day', s.start, %s)", [scope.window.zone.key]
    elif bucket is not None:
        at, parameters = "date_bin(%s, s.start, %s)", [bucket, BIN_ORIGIN]
    given = {name: value for name, value in scope.filters.given.items() if name in columns}
    start, end = scope.window.start, scope.window.end
    picked = "".join(f"{columns[name]}, " for name in by)
    groups = ", ".join(str(number) for number in range(1, len(by) + 2))
    cursor.execute(
        f"SELECT {picked}{at}, avg(e.value)::float8, count(*) FROM evals_score e "
        "JOIN span s ON s.tenant_id = e.tenant_id AND s.trace_id = e.trace_id AND s.span_id = e.span_id "
        # A judgement comes after its answer: older scores are of earlier calls.
        "WHERE e.tenant_id = ANY(%s) AND e.created_at >= %s AND e.source = 'judge' AND e.value IS NOT NULL "
        f"AND s.start >= %s AND s.start < %s {''.join(f'AND {columns[name]} = %s ' for name in given)}"
        f"GROUP BY {groups} ORDER BY {groups}",
        [*parameters, list(scope.tenant_ids), start, start, end, *given.values()],
    )
    n = len(by)
    return [Quality(tuple(row[:n]), row[n], row[n + 1], row[n + 2]) for row in cursor.fetchall()]

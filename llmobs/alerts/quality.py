"""Quality: the mean of a window's scores against the mean of the seven days before it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from llmobs.alerts.measures import Figure
from llmobs.alerts.raising import Connection
from llmobs.alerts.rules import Rule

BEFORE = timedelta(days=7)

MEANS = """
WITH rt AS MATERIALIZED (
    SELECT * FROM unnest(%s::int[], %s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[])
        AS rt(rule, tenant_id, since, earliest, score))
SELECT rt.rule, rt.tenant_id, s.name,
    avg(s.value) FILTER (WHERE s.created_at >= rt.since), count(*) FILTER (WHERE s.created_at >= rt.since),
    avg(s.value) FILTER (WHERE s.created_at < rt.since), count(*) FILTER (WHERE s.created_at < rt.since)
FROM rt JOIN evals_score s ON s.tenant_id = rt.tenant_id AND s.created_at >= rt.earliest AND s.value IS NOT NULL
    AND (rt.score IS NULL OR s.name = rt.score)
GROUP BY 1, 2, 3
"""


def quality_drop(conn: Connection, rules: Sequence[Rule], now: datetime) -> list[Figure]:
    """By how many percent the mean of each score fell. `count` is the smaller of both numbers of scores."""
    rows = [(index, tenant_id) for index, rule in enumerate(rules) for tenant_id in rule.tenant_ids]
    if not rows:
        return []
    since = [now - rules[index].window for index, _ in rows]
    columns = [
        [index for index, _ in rows],
        [tenant_id for _, tenant_id in rows],
        since,
        [at - BEFORE for at in since],
        [rules[index].filters.get("score") for index, _ in rows],
    ]
    found = []
    for index, tenant_id, name, mean, n, before, n_before in conn.execute(MEANS, columns).fetchall():
        if mean is None or not before or before < 0:
            continue
        drop = ((before - mean) * 100 / before).quantize(Decimal("0.1"))
        detail = {"mean": _two(mean), "mean_before": _two(before), "scores": n, "scores_before": n_before}
        found.append(Figure(rules[index], tenant_id, name, drop, min(n, n_before), detail))
    return found


def _two(value: Decimal) -> str:
    return f"{value:.2f}"

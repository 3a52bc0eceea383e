"""Providers: which there are, and who answered in whose place."""

# ruff: noqa: S608 - names in the SQL are constants of this package, values are always bound

from dataclasses import dataclass

from dashboards.queries.rollup import COLUMNS
from dashboards.queries.scope import Cursor, Scope

OF_CALLS = ("service", "environment", "feature", "key")  # filters that a call passes whoever answered it
MOST_CALLS = 1000  # whose first attempt is looked up
MOST_ROWS = 12


@dataclass(frozen=True)
class ProviderRow:
    """A provider that is set up."""

    name: str
    has_breaker: bool
    is_enabled: bool


@dataclass(frozen=True)
class Replaced:
    """Calls whose first choice did not answer. `answered` names who did: a provider, or a last resort."""

    asked: str
    asked_model: str
    answered: str
    answered_model: str
    calls: int


def providers(cursor: Cursor) -> list[ProviderRow]:
    """All that are set up, by name."""
    cursor.execute("SELECT name, breaker, is_enabled FROM providers_provider ORDER BY name LIMIT 200")
    return [ProviderRow(*row) for row in cursor.fetchall()]


def replaced(cursor: Cursor, scope: Scope) -> list[Replaced]:
    """Among the newest MOST_CALLS calls that another attempt, or none, answered: from whom to whom, most first.

    A call that an open breaker led elsewhere at once has no first attempt and is not among them.
    """
    window = scope.window
    given = {COLUMNS[name]: value for name, value in scope.filters.given.items() if name in OF_CALLS}
    filters = "".join(f"AND {column} = %s " for column in given)
    cursor.execute(
        "SELECT first.provider_name, first.request_model, "
        "coalesce(nullif(call.provider_name, ''), call.degraded), "
        "CASE WHEN call.provider_name = '' THEN '' ELSE call.request_model END, count(*) FROM ("
        "SELECT tenant_id, trace_id, span_id, start, provider_name, request_model, "
        "attributes->>'llmobs.degraded' AS degraded FROM span WHERE tenant_id = ANY(%s) AND start >= %s AND start < %s "
        f"AND source = 1 AND NOT is_call AND status = 'degraded' {filters}ORDER BY start DESC LIMIT %s) call "
        "CROSS JOIN LATERAL (SELECT s.provider_name, s.request_model FROM span s WHERE s.tenant_id = call.tenant_id "
        "AND s.trace_id = call.trace_id AND s.parent_span_id = call.span_id AND s.is_call AND s.start >= call.start "
        "AND s.start < call.start + interval '1 hour' ORDER BY s.start LIMIT 1) first "
        "GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3, 4 LIMIT %s",
        [list(scope.tenant_ids), window.start, window.end, *given.values(), MOST_CALLS, MOST_ROWS],
    )
    return [Replaced(*row) for row in cursor.fetchall()]

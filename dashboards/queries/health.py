"""How providers are, by the breakers of the gateways. Providers are shared: the figures of no tenant are in it."""

from dataclasses import dataclass
from datetime import datetime

from dashboards.queries.scope import Cursor


@dataclass(frozen=True)
class ProviderHealth:
    """A model of a provider that is not healthy, or was not. `until` None: still."""

    provider: str
    model: str
    state: str
    share_percent: int
    since: datetime
    until: datetime | None

    @property
    def words(self) -> str:
        return f"recovering ({self.share_percent} % of traffic)" if self.state == "recovering" else self.state


def unhealthy_now(cursor: Cursor) -> list[ProviderHealth]:
    """Models that are not healthy, the worst first."""
    cursor.execute(_NOW)
    return [ProviderHealth(*row) for row in cursor.fetchall()]


def unhealthy_between(cursor: Cursor, start: datetime, end: datetime) -> list[ProviderHealth]:
    """Stretches that touch the window, for a timeline."""
    cursor.execute(_BETWEEN, [end, start])
    return [ProviderHealth(*row) for row in cursor.fetchall()]


def worst_by_provider(found: list[ProviderHealth]) -> dict[str, ProviderHealth]:
    """What a provider is called by: the worst of its models."""
    worst: dict[str, ProviderHealth] = {}
    for health in found:
        worst.setdefault(health.provider, health)
    return worst


_COLUMNS = "p.name, s.model, s.state, s.share_percent, s.since, s.until"
_FROM = f"SELECT {_COLUMNS} FROM provider_state s JOIN providers_provider p ON p.id = s.provider_id"  # noqa: S608
_NOW = f"{_FROM} WHERE s.until IS NULL ORDER BY s.state DESC, s.share_percent, s.since LIMIT 500"
_BETWEEN = f"{_FROM} WHERE s.since < %s AND (s.until IS NULL OR s.until > %s) ORDER BY s.since LIMIT 2000"

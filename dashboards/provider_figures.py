"""How each provider and model is, in words and figures: by the gateways' breakers, else by what its calls say.

Figures are of attempts: each counts where it went, whatever became of the client's call.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dashboards.queries.health import ProviderHealth
from dashboards.queries.providers import ProviderRow
from dashboards.queries.rollup import Latency, Totals, merged
from dashboards.queries.scope import asks

UNHEALTHY, DEGRADED = 0.5, 0.05  # share of failed calls, with at least LEAST_FOR_STATE calls
LEAST_FOR_STATE = 20
LEAST_ERRORS = 3  # of few calls, too few to call it unhealthy
URGENCY = {"bad": 0, "warn": 1, "ok": 2, "unknown": 3}

Key = tuple[str, str]  # provider, model


@dataclass(frozen=True)
class State:
    """A shape, its word, and since when it is so; None: for longer than the window, or not known."""

    kind: str
    words: str
    since: datetime | None = None


@dataclass(frozen=True)
class Line:
    """Figures of a provider, or of one of its models. `ended_at`: when it was last not healthy, in the window."""

    provider: str
    model: str
    state: State
    calls: int
    errors: int
    cost_nanousd: int
    unpriced: int
    p95_ms: float | None
    ttft_ms: float | None
    ended_at: datetime | None

    @property
    def asked(self) -> dict[str, str]:
        """What explains a model's figures."""
        return asks({"provider": self.provider, "model": self.model})

    @property
    def changed_at(self) -> datetime | None:
        return self.state.since or self.ended_at


@dataclass(frozen=True)
class Provider:
    """A provider with its models."""

    line: Line
    models: list[Line]
    has_breaker: bool
    is_enabled: bool


def state_of(row: Totals | None, health: ProviderHealth | None) -> State:
    """By its breaker where one acts, else by the calls of the last minutes."""
    if health is not None:
        return State("bad" if health.state == "unhealthy" else "warn", health.words, health.since)
    if row is None or not row.calls:
        return State("unknown", "not called")
    share = row.errors / row.calls
    if row.calls >= LEAST_FOR_STATE and share > UNHEALTHY:
        return State("bad", "unhealthy")
    if share > (DEGRADED if row.calls >= LEAST_FOR_STATE else UNHEALTHY) and row.errors >= LEAST_ERRORS:
        return State("warn", "degraded")
    return State("ok", "healthy")


@dataclass(frozen=True)
class Read:
    """What was read for the page: sums and sketches by provider and model, the breakers' states."""

    window: Sequence[Totals]
    now: Sequence[Totals]
    durations: Sequence[Latency]
    first_bytes: Sequence[Latency]
    open_states: Sequence[ProviderHealth]
    stretches: Sequence[ProviderHealth]


def provider_figures(read: Read, known: Sequence[ProviderRow]) -> list[Provider]:
    """Who needs a person first, then by calls. `known`: also those that nobody called."""
    rows = {row.key: row for row in read.window if row.calls and row.key[0]}  # no provider: out of the cache
    settings = {row.name: row for row in known}
    names = dict.fromkeys([*(provider for provider, _ in rows), *settings])
    found = [_provider(name, read, rows, settings.get(name)) for name in names]
    return sorted(found, key=lambda each: (_urgency(each.line), each.line.provider))


def _urgency(line: Line) -> tuple[int, bool, int]:
    """The worst first; where a breaker acts before what a few calls say."""
    return URGENCY[line.state.kind], line.state.since is None, -line.calls


def _provider(name: str, read: Read, rows: Mapping[Key, Totals], setting: ProviderRow | None) -> Provider:
    unwell = [health.model for health in read.open_states if health.provider == name]
    keys = dict.fromkeys([*(key for key in rows if key[0] == name), *((name, model) for model in unwell)])
    models = [_line(name, model, read, rows) for _, model in keys]
    models.sort(key=lambda line: (_urgency(line), line.model))
    whole = _line(name, None, read, rows)
    return Provider(whole, models, setting is None or setting.has_breaker, setting is None or setting.is_enabled)


def _line(name: str, model: str | None, read: Read, rows: Mapping[Key, Totals]) -> Line:
    """Of one model, or (None) of all of them."""

    def is_its(key: tuple[str, ...]) -> bool:
        return key[0] == name and model in (None, key[1])

    of = [row for key, row in rows.items() if is_its(key)]
    now = [row for row in read.now if is_its(row.key)]
    calls, errors = sum(row.calls for row in now), sum(row.errors for row in now)
    worst = next((h for h in read.open_states if is_its((h.provider, h.model))), None)
    ended = [h.until for h in read.stretches if h.until is not None and is_its((h.provider, h.model))]
    return Line(
        name,
        model or "",
        state_of(Totals((), None, calls, errors), worst),
        sum(row.calls for row in of),
        sum(row.errors for row in of),
        sum(row.cost_nanousd for row in of),
        sum(row.unpriced_calls for row in of),
        _p95(each for each in read.durations if is_its(each.key)),
        _p95(each for each in read.first_bytes if is_its(each.key)),
        max(ended, default=None),
    )


def _p95(found: Iterable[Latency]) -> float | None:
    return merged(found).quantile_ms(0.95)

"""Providers: who is healthy, and what did we do about it?"""

from dataclasses import dataclass

from django.http import HttpResponse

from dashboards import timeline
from dashboards.blocks import Failed, guarded
from dashboards.earlier import now_of
from dashboards.provider_figures import Provider, Read, provider_figures
from dashboards.queries.health import ProviderHealth, unhealthy_between, unhealthy_now
from dashboards.queries.providers import ProviderRow, providers, replaced
from dashboards.queries.rollup import latencies, totals
from dashboards.views.frame import filter_choices, gateway_address, provider_note
from dashboards.visit import Visit, page, show

BY = ("provider", "model")


@dataclass(frozen=True)
class Found:
    """All that the page shows of providers. `calls`: attempts at all of them."""

    providers: list[Provider]
    stretches: list[ProviderHealth]
    calls: int
    now_words: str

    @property
    def models(self) -> int:
        return sum(len(provider.models) for provider in self.providers)


@page("providers")
def provider_list(visit: Visit) -> HttpResponse:
    """A card each, their models, when they were not healthy, and who answered instead."""
    found = guarded(visit, "providers", lambda: _found(visit))
    known = [] if isinstance(found, Failed) else found.stretches
    if not isinstance(found, Failed):
        provider_note(visit, [each.line.state for each in found.providers])
    return show(
        visit,
        "dashboards/providers.html",
        heading="Providers",
        gateway=gateway_address(),
        choices=filter_choices(visit),
        found=found,
        strips=timeline.strips(visit.window, known),
        ticks=timeline.ticks(visit.window),
        changes=timeline.changes(visit.window, known),
        replaced=guarded(visit, "replaced", lambda: replaced(visit.cursor, visit.scope)),
    )


def _found(visit: Visit) -> Found:
    cursor, scope, now = visit.cursor, visit.scope, now_of(visit)
    sums = totals(cursor, scope, BY)
    called = {row.key[0] for row in sums if row.calls and row.key[0]}
    # Operators also see who was not called; others their own providers alone.
    known = [row for row in providers(cursor) if visit.seen.is_operator or row.name in called]
    names = called | {row.name for row in known}
    read = Read(
        sums,
        totals(cursor, visit.scope_of(now.window), BY),
        latencies(cursor, scope, BY),
        latencies(cursor, scope, BY, of="ttft"),
        _of(names, unhealthy_now(cursor)),
        _of(names, unhealthy_between(cursor, visit.window.start, visit.window.end)),
    )
    shown = provider_figures(read, _passing(visit, known))
    return Found(shown, list(read.stretches), sum(row.calls for row in sums if row.key[0]), now.words)


def _of(names: set[str], found: list[ProviderHealth]) -> list[ProviderHealth]:
    return [health for health in found if health.provider in names]


def _passing(visit: Visit, known: list[ProviderRow]) -> list[ProviderRow]:
    wanted = visit.filters.provider
    return [row for row in known if wanted in (None, row.name)] if not visit.filters.model else []

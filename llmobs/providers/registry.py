"""Who answers: providers and routes as the gateway needs them, read in one go and immutable."""

from collections.abc import Callable
from typing import Any

import msgspec
import psycopg


class ProviderInfo(msgspec.Struct, frozen=True):
    """A provider. `credential` is a reference or sealed, never plain (see `providers.credentials`)."""

    id: int
    name: str
    dialect: str
    base_url: str
    credential: str
    headers: dict[str, str]
    priced_as: str  # the price book's provider: prices_like, or the name


class CandidateInfo(msgspec.Struct, frozen=True):
    """One entry of a route: which provider, and the model's name there."""

    provider: ProviderInfo
    model: str


class RouteInfo(msgspec.Struct, frozen=True):
    """An alias and its candidates in order."""

    name: str
    strategy: str
    candidates: tuple[CandidateInfo, ...]


class Registry:
    """Enabled providers by name, routes by name (candidates of disabled providers left out)."""

    def __init__(self, providers: list[ProviderInfo], routes: list[RouteInfo]) -> None:
        self.providers = {provider.name: provider for provider in providers}
        self.routes = {route.name: route for route in routes}

    def candidates(
        self, model: str, serves: Callable[[ProviderInfo, str], bool], dialect: str = ""
    ) -> tuple[CandidateInfo, ...]:
        """Who can answer for `model`: its route's candidates, else the one provider known to serve it, else none.

        `serves(provider, model)` says whether a provider is known to serve a model: the price book knows it there.
        Where several do, one that speaks the caller's `dialect` comes first, then the one that was made first.
        """
        route = self.routes.get(model)
        if route is not None:
            return route.candidates
        known = [provider for provider in self.providers.values() if serves(provider, model)]
        known.sort(key=lambda provider: (provider.dialect != dialect, provider.id))
        return tuple(CandidateInfo(provider, model) for provider in known[:1])


def load(conn: psycopg.Connection[Any]) -> Registry:
    """Providers and routes as the database holds them now."""
    providers = {row[0]: _provider(row) for row in conn.execute(_PROVIDERS).fetchall()}
    candidates: dict[int, list[CandidateInfo]] = {}
    for route_id, provider_id, model in conn.execute(_CANDIDATES).fetchall():
        if provider_id in providers:
            candidates.setdefault(route_id, []).append(CandidateInfo(providers[provider_id], model))
    routes = conn.execute("SELECT id, name, strategy FROM providers_route ORDER BY id").fetchall()
    return Registry(
        list(providers.values()),
        [RouteInfo(name, strategy, tuple(candidates.get(route_id, ()))) for route_id, name, strategy in routes],
    )


_PROVIDERS = (
    "SELECT id, name, dialect, base_url, credential, headers, prices_like FROM providers_provider "
    "WHERE is_enabled ORDER BY id"
)
_CANDIDATES = "SELECT route_id, provider_id, model FROM providers_candidate ORDER BY route_id, position"


def _provider(row: tuple[Any, ...]) -> ProviderInfo:
    provider_id, name, dialect, base_url, credential, headers, prices_like = row
    texts = {str(header): str(value) for header, value in (headers or {}).items()}
    return ProviderInfo(provider_id, name, dialect, base_url.rstrip("/"), credential, texts, prices_like or name)

"""Who answers: providers and routes as the gateway needs them, read in one go and immutable."""

from collections.abc import Callable
from typing import Any

import msgspec
import psycopg

from llmobs.providers.overruns import seen_tiers

# Operations as `gateway.dialects` name them, with their paths below a base URL (Anthropic's have their version in it).
OPERATIONS = {
    "chat": "/chat/completions",
    "responses": "/responses",
    "embeddings": "/embeddings",
    "messages": "/v1/messages",
    "count_tokens": "/v1/messages/count_tokens",
}
# What a provider speaks unless its entry says otherwise, by dialect.
SERVES = {"openai": ("chat", "responses", "embeddings"), "anthropic": ("messages", "count_tokens")}
AUTHS = {"openai": "bearer", "anthropic": "x-api-key"}
RETRIES = 2


class CredentialInfo(msgspec.Struct, frozen=True):
    """One of a provider's credentials: a reference or sealed, never plain (see `providers.credentials`)."""

    credential: str
    weight: int = 1


class ProviderInfo(msgspec.Struct, frozen=True):
    """A provider. `credential` is the first of its `credentials`; "" where it needs none."""

    id: int
    name: str
    dialect: str
    base_url: str
    credential: str
    headers: dict[str, str]
    priced_as: str  # the price book's provider: prices_like, or the name
    credentials: tuple[CredentialInfo, ...] = ()
    auth: str = ""  # bearer, x-api-key, api-key or none; filled by the dialect
    query: dict[str, str] = {}
    paths: dict[str, str] = {}  # by operation, below base_url; "{model}" in it stands for the model's name
    serves: tuple[str, ...] = ()  # operations that it speaks; filled by the dialect
    breaker: bool = True
    retries: int = RETRIES
    is_local: bool = False  # confidential content may go there
    connect_seconds: float | None = None  # None: the gateway's own patience
    first_byte_seconds: float | None = None
    whole_seconds: float | None = None
    ca_file: str = ""  # certificates that vouch for it, instead of the system's
    verify: bool = True
    default_service_tier: str = ""  # of requests that name none: a tier, or auto: any that is priced
    seen_tiers: tuple[str, ...] = ()  # that answered requests that were not held for them

    def __post_init__(self) -> None:
        fill = msgspec.structs.force_setattr
        if not self.serves:
            fill(self, "serves", SERVES.get(self.dialect, ()))
        if not self.auth:
            fill(self, "auth", AUTHS.get(self.dialect, "none"))
        if not self.credentials and self.credential:
            fill(self, "credentials", (CredentialInfo(self.credential),))


class CandidateInfo(msgspec.Struct, frozen=True):
    """One entry of a route: which provider, and the model's name there."""

    provider: ProviderInfo
    model: str
    weight: float = 1.0  # its share where the strategy is weighted; 0: only after the others
    quality: float = 1.0  # 0..1, as evaluations found; one without is 0 where the route has a floor
    canary_percent: float = 0.0  # of users who get it first, whatever the strategy


class RouteInfo(msgspec.Struct, frozen=True):
    """An alias and its candidates in order."""

    name: str
    strategy: str
    candidates: tuple[CandidateInfo, ...]
    quality_floor: float = 0.0
    last_resort: tuple[str, ...] = ()  # stale_cache, static: in this order, when no candidate answered
    static_text: str = ""
    tasks: tuple[str, ...] = ()  # what it answers where the model is `auto` or x-llmobs-task names one
    hedge_after_ms: int = 0  # 0: no second candidate is asked while the first is silent
    cascade_threshold: float = 0.5
    cascade_scorer: str = ""  # a route that scores; "": the built-in heuristics
    salt: str = ""  # of the canary's choice of users
    id: int = 0
    confidential_only_local: bool = False
    most_output_tokens: int | None = None  # of requests that set no ceiling; None: the model's own


class Registry:
    """Enabled providers by name, routes by name (candidates of disabled providers left out)."""

    def __init__(self, providers: list[ProviderInfo], routes: list[RouteInfo]) -> None:
        self.providers = {provider.name: provider for provider in providers}
        self.routes = {route.name: route for route in routes}

    def candidates(
        self, model: str, serves: Callable[[ProviderInfo, str], bool], dialect: str = ""
    ) -> tuple[CandidateInfo, ...]:
        """Who can answer for `model`: its route's candidates, else the provider that the name begins with
        (`anthropic/claude-sonnet-4-5`), else the one provider known to serve it, else none.

        `serves(provider, model)` says whether a provider is known to serve a model: the price book knows it there.
        Where several do, one that speaks the caller's `dialect` comes first, then the one that was made first.
        """
        route = self.routes.get(model)
        if route is not None:
            return route.candidates
        spelled, _, rest = model.partition("/")
        if rest and spelled in self.providers:
            return (CandidateInfo(self.providers[spelled], rest),)
        known = [provider for provider in self.providers.values() if serves(provider, model)]
        known.sort(key=lambda provider: (provider.dialect != dialect, provider.id))
        return tuple(CandidateInfo(provider, model) for provider in known[:1])


def load(conn: psycopg.Connection[Any]) -> Registry:
    """Providers and routes as the database holds them now."""
    seen = seen_tiers(conn)
    providers = {row[0]: _provider(row, seen.get(row[0], ())) for row in conn.execute(_PROVIDERS).fetchall()}
    routes = conn.execute(_ROUTES).fetchall()
    floors = {row[0]: row[3] for row in routes}
    candidates: dict[int, list[CandidateInfo]] = {}
    for route_id, provider_id, model, weight, quality, canary_percent in conn.execute(_CANDIDATES).fetchall():
        if provider_id not in providers:
            continue
        if quality is None:  # nobody knows that it meets a floor
            quality = 0.0 if floors.get(route_id) else 1.0
        candidate = CandidateInfo(providers[provider_id], model, weight, quality, canary_percent)
        candidates.setdefault(route_id, []).append(candidate)
    return Registry(list(providers.values()), [_route(row, tuple(candidates.get(row[0], ()))) for row in routes])


_PROVIDERS = (
    "SELECT id, name, dialect, base_url, credential, headers, prices_like, credentials, auth, api_version, query, "
    "paths, serves, breaker, retries, is_local, connect_seconds, first_byte_seconds, whole_seconds, ca_file, verify, "
    "default_service_tier "
    "FROM providers_provider WHERE is_enabled ORDER BY id"
)
_ROUTES = (
    "SELECT id, name, strategy, quality_floor, last_resort, static_text, tasks, hedge_after_ms, cascade_threshold, "
    "cascade_scorer, salt, confidential_only_local, most_output_tokens FROM providers_route ORDER BY id"
)
_CANDIDATES = (
    "SELECT route_id, provider_id, model, weight, quality, canary_percent FROM providers_candidate "
    "ORDER BY route_id, position"
)


def _provider(row: tuple[Any, ...], seen: tuple[str, ...]) -> ProviderInfo:
    provider_id, name, dialect, base_url, credential, headers, prices_like, credentials, *rest = row
    auth, api_version, query, paths, serves, *others = rest
    others.append(seen)
    several = [CredentialInfo(str(each["credential"]), int(each.get("weight", 1))) for each in credentials or ()]
    return ProviderInfo(
        provider_id,
        name,
        dialect,
        base_url.rstrip("/"),
        several[0].credential if several else credential,
        _texts(headers),
        prices_like or name,
        tuple(several),
        auth,
        {**({"api-version": api_version} if api_version else {}), **_texts(query)},
        _texts(paths),
        tuple(serves or ()),
        *others,
    )


def _texts(given: dict[str, Any] | None) -> dict[str, str]:
    return {str(name): str(value) for name, value in (given or {}).items()}


def _route(row: tuple[Any, ...], candidates: tuple[CandidateInfo, ...]) -> RouteInfo:
    route_id, name, strategy, floor, last_resort, static_text, tasks, *others = row
    hedge_after_ms, threshold, scorer, salt, is_only_local, most_output_tokens = others
    return RouteInfo(
        name,
        strategy,
        candidates,
        floor,
        tuple(last_resort or ()),
        static_text,
        tuple(tasks or ()),
        hedge_after_ms,
        threshold,
        scorer,
        salt,
        route_id,
        is_only_local,
        most_output_tokens,
    )

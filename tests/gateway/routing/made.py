"""Providers, candidates and routes as the registry gives them, and a health that a test sets."""

from dataclasses import dataclass, field
from typing import Any

from gateway.routing.strategies import Facts, Standing, Turns, plan
from llmobs.pricing.price import Price
from llmobs.providers.registry import CandidateInfo, ProviderInfo, RouteInfo


def provider(name: str, provider_id: int = 0, **fields: Any) -> ProviderInfo:
    number = provider_id or sum(name.encode())
    return ProviderInfo(number, name, "openai", f"https://{name}.example.com/v1", "", {}, name, **fields)


def candidate(name: str, **fields: Any) -> CandidateInfo:
    """`name` is provider/model; fields of the provider begin with `provider_`."""
    whose, _, model = name.partition("/")
    of_provider = {k.removeprefix("provider_"): v for k, v in fields.items() if k.startswith("provider_")}
    own = {k: v for k, v in fields.items() if not k.startswith("provider_")}
    return CandidateInfo(provider(whose, **of_provider), model or "m", **own)


def route(*candidates: CandidateInfo, strategy: str = "fallback", **fields: Any) -> RouteInfo:
    return RouteInfo("smart", strategy, candidates, **fields)


@dataclass
class Known:
    """Standings and latencies by provider/model."""

    standings: dict[str, Standing] = field(default_factory=dict)
    p95: dict[str, float] = field(default_factory=dict)

    def standing(self, candidate: CandidateInfo, now_s: float) -> Standing:
        return self.standings.get(name_of(candidate), Standing())

    def p95_ms(self, candidate: CandidateInfo, is_stream: bool) -> float | None:
        return self.p95.get(name_of(candidate))


def name_of(candidate: CandidateInfo) -> str:
    return f"{candidate.provider.name}/{candidate.model}"


def order(
    made: RouteInfo,
    facts: Facts | None = None,
    known: Known | None = None,
    prices: dict[str, Price] | None = None,
    turns: Turns | None = None,
) -> list[str]:
    """The names in the order in which they are tried."""
    found = plan(
        made, facts or Facts(1), known or Known(), lambda c: (prices or {}).get(name_of(c)), turns or Turns(), 100.0
    )
    return [name_of(one) for one in found]

"""Who answers for a model: its route, else the one provider known to serve it."""

import psycopg

from llmobs.providers.registry import CredentialInfo, ProviderInfo, load
from tests.gateway.world import World


def serves(provider: ProviderInfo, model: str) -> bool:
    return model.startswith(provider.name)


def world(pg: psycopg.Connection) -> World:
    return World(pg, None)  # type: ignore[arg-type]  # no ledger is asked here


def test_a_route_gives_its_candidates_in_order(pg: psycopg.Connection) -> None:
    first = world(pg).provider("a", "openai", "http://a.test/v1/")
    second = world(pg).provider("b", "anthropic", "http://b.test", prices_like="anthropic")
    world(pg).route("smart", (second, "big"), (first, "small"))
    found = load(pg).candidates("smart", serves)
    assert [(c.provider.name, c.model, c.provider.priced_as) for c in found] == [
        ("b", "big", "anthropic"),
        ("a", "small", "a"),
    ]


def test_a_disabled_provider_answers_for_nothing(pg: psycopg.Connection) -> None:
    provider = world(pg).provider("a", "openai", "http://a.test/v1", is_enabled=False)
    world(pg).route("smart", (provider, "big"))
    registry = load(pg)
    assert registry.candidates("smart", serves) == ()
    assert registry.candidates("a-model", serves) == ()


def test_without_a_route_the_provider_known_to_serve_a_model_answers(pg: psycopg.Connection) -> None:
    world(pg).provider("a", "openai", "http://a.test/v1")
    world(pg).provider("b", "openai", "http://b.test/v1")
    registry = load(pg)
    assert [c.provider.name for c in registry.candidates("b-model", serves)] == ["b"]
    assert registry.candidates("unknown", serves) == ()


def test_of_several_the_one_that_speaks_the_callers_format_comes_first(pg: psycopg.Connection) -> None:
    world(pg).provider("a", "openai", "http://a.test/v1")
    world(pg).provider("ab", "anthropic", "http://b.test")
    registry = load(pg)
    assert [c.provider.name for c in registry.candidates("ab-model", serves, "anthropic")] == ["ab"]
    assert [c.provider.name for c in registry.candidates("ab-model", serves, "openai")] == ["a"]


def test_a_provider_spelled_before_the_model_answers(pg: psycopg.Connection) -> None:
    """S0-05: a provider is swapped by what stands in "model", nothing else of the application changes."""
    world(pg).provider("a", "openai", "http://a.test/v1")
    routed = world(pg).provider("b", "openai", "http://b.test/v1")
    world(pg).route("a/aliased", (routed, "big"))
    registry = load(pg)
    assert [(c.provider.name, c.model) for c in registry.candidates("a/vendor/x", serves)] == [("a", "vendor/x")]
    assert [(c.provider.name, c.model) for c in registry.candidates("a/aliased", serves)] == [("b", "big")]
    assert registry.candidates("nobody/x", serves) == ()


def test_what_an_entry_leaves_out_its_dialect_says() -> None:
    provider = ProviderInfo(1, "a", "anthropic", "https://a.test", "env:A", {}, "a")
    assert provider.serves == ("messages", "count_tokens")
    assert (provider.auth, provider.credentials) == ("x-api-key", (CredentialInfo("env:A"),))

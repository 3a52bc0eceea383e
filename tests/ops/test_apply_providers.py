"""`apply`: what providers and routes of the file become, and what is refused with its place."""

import psycopg
import pytest
from cryptography.fernet import Fernet
from django.db import connection
from psycopg.types.json import JsonbLoader
from psycopg.types.string import TextLoader

from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse
from llmobs.ops.configuring.applying import Report
from llmobs.ops.configuring.entry import ConfigurationError
from llmobs.providers.credentials import open_credential
from llmobs.providers.models import Provider, Route
from llmobs.providers.registry import Registry, load
from llmobs.tenants.models import AuditEntry, Tenant

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()

PROVIDER = """
providers:
  - name: azure
    dialect: openai
    base_url: https://acme.openai.azure.com
    credentials:
      - {credential: sk-plain-credential-a, weight: 2}
      - {credential: "env:AZURE_KEY_B"}
    auth: api-key
    api_version: 2024-10-21
    query: {tier: gold}
    paths: {chat: "/openai/deployments/{model}/chat/completions"}
    serves: [chat]
    breaker: off
    retries: 4
    is_local: yes
    connect_seconds: 0.5
    first_byte_seconds: 8
    whole_seconds: 60
    ca_file: /etc/llmobs/azure.pem
    verify: yes
"""

ROUTE = """
providers:
  - {name: a, dialect: openai, base_url: http://h/v1}
  - {name: b, dialect: anthropic, base_url: http://h}
routes:
  - name: smart
    strategy: weighted
    quality_floor: 0.8
    last_resort: [stale_cache, static]
    static_text: We cannot answer right now.
    tasks: [classification, extraction]
    hedge_after_ms: 800
    cascade_threshold: 0.6
    cascade_scorer: judge
    salt: spring
    confidential_only_local: true
    candidates:
      - {provider: a, model: gpt-4o, weight: 2.5, quality: 0.9}
      - {provider: b, model: claude-sonnet-4-5, canary_percent: 5}
"""


def run(text: str, keys: tuple[str, ...] = (NEW, OLD)) -> Report:
    return apply(parse(text), keys, environ={"AZURE_KEY_B": "b"})


def problem(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        run(text)
    return str(caught.value)


def registry() -> Registry:
    connection.ensure_connection()
    raw: psycopg.Connection = connection.connection
    raw.adapters.register_loader("jsonb", JsonbLoader)  # as a gateway's connection reads; Django's reads it as text
    try:
        return load(raw)
    finally:
        raw.adapters.register_loader("jsonb", TextLoader)


@pytest.mark.django_db
def test_a_providers_every_field_reaches_the_gateway() -> None:
    run(PROVIDER)

    info = registry().providers["azure"]

    assert (info.auth, info.breaker, info.retries, info.is_local) == ("api-key", False, 4, True)
    assert info.query == {"api-version": "2024-10-21", "tier": "gold"}
    assert info.paths == {"chat": "/openai/deployments/{model}/chat/completions"}
    assert info.serves == ("chat",)
    assert (info.connect_seconds, info.first_byte_seconds, info.whole_seconds) == (0.5, 8.0, 60.0)
    assert (info.ca_file, info.verify) == ("/etc/llmobs/azure.pem", True)
    assert [each.weight for each in info.credentials] == [2, 1]


@pytest.mark.django_db
def test_several_credentials_are_sealed_at_rest_and_never_told() -> None:
    """S0-45: credentials are references or sealed; neither the table nor the audit trail holds one in plain."""
    run(PROVIDER)

    first, second = Provider.objects.get().credentials
    assert first["credential"].startswith("sealed:")
    assert open_credential(first["credential"], (NEW, OLD)) == "sk-plain-credential-a"
    assert second == {"credential": "env:AZURE_KEY_B", "weight": 1}
    told = str(list(AuditEntry.objects.values_list("change", flat=True)))
    assert "sk-plain" not in told
    assert "sealed:" not in told


@pytest.mark.django_db
def test_what_an_older_encryption_key_sealed_is_the_same_under_a_newer() -> None:
    """S0-47: encryption keys rotate, newest first, and nothing is entered anew."""
    run(PROVIDER, (OLD,))

    assert not run(PROVIDER, (NEW, OLD)).has_changes


@pytest.mark.django_db
def test_a_rotated_credential_is_a_change_of_that_one_alone() -> None:
    run(PROVIDER)
    before = Provider.objects.get().credentials

    report = run(PROVIDER.replace("env:AZURE_KEY_B", "sk-plain-credential-b"))

    after = Provider.objects.get().credentials
    assert report.has_changes
    assert after[0] == before[0]
    assert open_credential(after[1]["credential"], (NEW,)) == "sk-plain-credential-b"


@pytest.mark.django_db
def test_each_variable_of_several_that_is_not_set_is_pointed_out() -> None:
    [note] = run(PROVIDER.replace("AZURE_KEY_B", "NOT_SET_ANYWHERE")).notes

    assert note.startswith("providers[0].credentials[1].credential: NOT_SET_ANYWHERE is not set here")


@pytest.mark.django_db
def test_a_routes_every_field_reaches_the_gateway() -> None:
    """S4-14: a primary, a backup and one of another provider, each with its share, quality and canary."""
    run(ROUTE)

    route = registry().routes["smart"]

    assert (route.strategy, route.quality_floor, route.hedge_after_ms) == ("weighted", 0.8, 800)
    assert (route.last_resort, route.static_text) == (("stale_cache", "static"), "We cannot answer right now.")
    assert route.tasks == ("classification", "extraction")
    assert (route.cascade_threshold, route.cascade_scorer, route.salt) == (0.6, "judge", "spring")
    assert route.confidential_only_local
    assert route.id == Route.objects.get().pk
    first, second = route.candidates
    assert (first.weight, first.quality, first.canary_percent) == (2.5, 0.9, 0.0)
    assert (second.weight, second.quality, second.canary_percent) == (1.0, 0.0, 5.0)


@pytest.mark.django_db
@pytest.mark.parametrize("text", [PROVIDER, ROUTE], ids=["provider", "route"])
def test_a_second_time_nothing_changes(text: str) -> None:
    run(text)

    assert not run(text).has_changes


@pytest.mark.django_db
def test_a_changed_weight_is_a_change_and_is_told() -> None:
    run(ROUTE)
    run(ROUTE.replace("weight: 2.5", "weight: 3"))

    entry = AuditEntry.objects.filter(kind="route", action="change").latest("id")
    assert entry.change["candidates"][1][0] == "a/gpt-4o weight 3 quality 0.9"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("credential: x, credentials: [{credential: y}]", "providers[0].credentials: either one credential or several"),
        ("credentials: [{credential: sk-secret-1, weight: 0}]", "providers[0].credentials: A weight is a whole number"),
        ("paths: {chat: chat}", "providers[0].paths: chat: 'chat' is no path below base_url"),
        ("paths: {draw: /images}", "providers[0].paths: 'draw' is no operation; use any of chat, responses"),
        ("paths: {chat: '/d/{name}/chat'}", "providers[0].paths: chat: '/d/{name}/chat' may hold {model} alone"),
        ("serves: [chat, chat]", "providers[0].serves: One of them stands there twice."),
        ("serves: [speech]", "providers[0].serves[0]: invalid enum value 'speech'"),
        ("retries: 11", "providers[0].retries: Up to 10."),
        ("whole_seconds: 0", "providers[0].whole_seconds: Seconds above 0 and up to 3,600"),
        ("first_byte_seconds: soon", "providers[0].first_byte_seconds: 'soon' is no number"),
        ('headers: {"x": "a\\r\\nb"}', "providers[0].headers: 'x' and its value make no HTTP header"),
        ("headers: {Host: other}", "providers[0].headers: Host is set by the gateway"),
        ("auth: basic", "providers[0].auth: invalid enum value 'basic'"),
    ],
)
def test_a_wrong_provider_is_refused_with_its_place(text: str, said: str) -> None:
    found = problem(f"providers: [{{name: p, dialect: openai, base_url: 'http://h/v1', {text}}}]")

    assert said in found
    assert "sk-secret" not in found
    assert not Provider.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("route", "candidate", "said"),
    [
        ("last_resort: [static]", "", "routes[0].static_text: What to answer: last_resort names static."),
        ("quality_floor: 0.9", "quality: 0.8", "routes[0]: No candidate has a quality of 0.9 or more"),
        ("quality_floor: 2", "", "routes[0].quality_floor: Between 0 and 1."),
        ("strategy: weighted", "weight: 0", "routes[0]: A weighted route has a candidate with a weight above 0."),
        ("tasks: [Chat Bot]", "", "routes[0].tasks: A list of tasks in lower case"),
        ("cascade_scorer: r", "", "routes[0].cascade_scorer: A route cannot score its own answers."),
        ("strategy: fallback", "weight: -1", "routes[0].candidates[0].weight: Between 0 and 1,000,000."),
        ("strategy: fallback", "canary_percent: 101", "routes[0].candidates[0].canary_percent: Between 0 and 100."),
        ("strategy: cheap", "", "routes[0].strategy: invalid enum value 'cheap'"),
    ],
)
def test_a_wrong_route_is_refused_with_its_place(route: str, candidate: str, said: str) -> None:
    found = problem(
        "providers: [{name: p, dialect: openai, base_url: 'http://h/v1'}]\n"
        f"routes: [{{name: r, {route}, candidates: [{{provider: p, model: m, {candidate}}}]}}]"
    )

    assert said in found
    assert not Route.objects.exists()


@pytest.mark.django_db
def test_a_tenants_confidential_content_can_be_kept_at_home() -> None:
    run("tenants: [{slug: acme, confidential_only_local: yes}, {slug: globex}]")

    assert dict(Tenant.objects.values_list("slug", "confidential_only_local")) == {"acme": True, "globex": False}

"""Providers and routes over REST: every field goes in; what may hold a secret never comes out."""

import pytest
from django.conf import settings

from llmobs.providers.credentials import open_credential
from llmobs.providers.models import Provider
from llmobs.tenants.models import AuditEntry
from tests.tenants.cast import Cast, as_person, assert_problem, make_cast

API = "/api/v1"
AZURE = {
    "name": "azure",
    "dialect": "openai",
    "base_url": "https://acme.openai.azure.com",
    "credentials": [{"credential": "sk-secret-a", "weight": 2}, {"credential": "env:KEY_B"}],
    "query": {"signature": "sk-secret-query"},
    "auth": "api-key",
    "api_version": "2024-10-21",
    "paths": {"chat": "/openai/deployments/{model}/chat/completions"},
    "serves": ["chat"],
    "breaker": False,
    "is_local": True,
    "whole_seconds": 60.0,
}


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


def test_several_credentials_go_in_sealed_and_never_come_out(cast: Cast) -> None:
    """S2-49: credentials stay at the gateway; nobody who reads the configuration gets one."""
    client = as_person(cast.olga)

    made = client.post(f"{API}/providers/", AZURE, format="json").json()

    assert made["has_credential"] is True
    assert {name: made[name] for name in AZURE if name not in ("credentials", "query")} == {
        name: value for name, value in AZURE.items() if name not in ("credentials", "query")
    }
    assert not {"credential", "credentials", "headers", "query"} & set(made)
    first, second = Provider.objects.get().credentials
    assert open_credential(first["credential"], settings.SECRETS.encryption_keys) == "sk-secret-a"
    assert second == {"credential": "env:KEY_B", "weight": 1}
    assert "sk-secret" not in str(list(AuditEntry.objects.values_list("change", flat=True)))


def test_several_credentials_take_the_place_of_one_and_back(cast: Cast) -> None:
    client = as_person(cast.olga)
    made = client.post(f"{API}/providers/", AZURE, format="json").json()

    client.patch(f"{API}/providers/{made['id']}/", {"credential": "env:KEY_C"}, format="json")
    assert (Provider.objects.get().credential, Provider.objects.get().credentials) == ("env:KEY_C", [])

    client.patch(f"{API}/providers/{made['id']}/", {"credentials": [{"credential": "env:KEY_D"}]}, format="json")
    assert Provider.objects.get().credential == ""


def test_what_a_provider_cannot_be_is_refused_with_the_fields_name(cast: Cast) -> None:
    client = as_person(cast.olga)

    said = assert_problem(client.post(f"{API}/providers/", {**AZURE, "paths": {"chat": "x"}}, format="json"), 400)

    assert "is no path below base_url" in str(said)
    assert not Provider.objects.exists()


def test_a_routes_choice_among_its_candidates_is_kept(cast: Cast) -> None:
    client = as_person(cast.olga)
    client.post(f"{API}/providers/", AZURE, format="json")
    candidates = [
        {"provider": "azure", "model": "a", "weight": 2.0, "quality": 0.9, "canary_percent": 0.0},
        {"provider": "azure", "model": "b", "weight": 1.0, "quality": None, "canary_percent": 5.0},
    ]
    route = {"name": "smart", "strategy": "weighted", "candidates": candidates, "tasks": ["classification"]}

    made = client.post(f"{API}/routes/", {**route, "last_resort": ["stale_cache"]}, format="json").json()

    assert (made["strategy"], made["tasks"], made["last_resort"]) == ("weighted", ["classification"], ["stale_cache"])
    assert made["candidates"] == candidates
    wrong = {"candidates": [{**candidates[0], "weight": 0}]}
    assert_problem(client.patch(f"{API}/routes/{made['id']}/", wrong, format="json"), 400)

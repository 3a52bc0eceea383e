"""Providers and routes in the admin: several credentials are written and never shown; fields reach the rows."""

import pytest
from django.test import Client

from llmobs.providers.credentials import open_credential
from llmobs.providers.models import Provider
from llmobs.tenants.models import AuditEntry
from tests.tenants.cast import Cast, make_cast
from tests.tenants.test_admin import saved

FORM = {"name": "p", "dialect": "openai", "base_url": "http://h/v1", "retries": 3, "is_enabled": "on"}


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture
def operator(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.olga)
    return client


def test_several_credentials_are_sealed_and_never_shown(cast: Cast, operator: Client) -> None:
    """S0-02: providers' credentials are rotated in one place, and nobody reads them there."""
    saved(operator, "providers/provider/add/", {**FORM, "new_credentials": "sk-secret-a 2\nenv:KEY_B\n"})

    provider = Provider.objects.get()
    page = operator.get(f"/admin/providers/provider/{provider.pk}/change/").content.decode()
    assert "sealed (weight 2), env:KEY_B (weight 1)" in page
    assert "sk-secret-a" not in page
    assert "sk-secret-a" not in str(list(AuditEntry.objects.values()))
    first, second = provider.credentials
    assert first["weight"] == 2
    assert second == {"credential": "env:KEY_B", "weight": 1}


def test_one_credential_takes_the_place_of_several(cast: Cast, operator: Client) -> None:
    saved(operator, "providers/provider/add/", {**FORM, "new_credentials": "env:KEY_A\nenv:KEY_B"})
    provider = Provider.objects.get()

    saved(operator, f"providers/provider/{provider.pk}/change/", {**FORM, "new_credential": "env:KEY_C"})

    provider.refresh_from_db()
    assert (provider.credential, provider.credentials) == ("env:KEY_C", [])


def test_a_line_that_is_no_credential_is_refused_without_being_repeated(cast: Cast, operator: Client) -> None:
    answer = operator.post("/admin/providers/provider/add/", {**FORM, "new_credentials": "sk-a heavy"})

    assert answer.status_code == 200
    assert "One a line: the credential, and a whole number" in answer.content.decode()
    assert not Provider.objects.exists()


def test_how_a_provider_is_spoken_to_is_kept(cast: Cast, operator: Client) -> None:
    fields = {"paths": '{"chat": "/d/{model}/chat"}', "serves": '["chat"]', "auth": "api-key", "whole_seconds": "9.5"}
    saved(operator, "providers/provider/add/", {**FORM, **fields})

    provider = Provider.objects.get()
    assert (provider.paths, provider.serves) == ({"chat": "/d/{model}/chat"}, ["chat"])
    assert (provider.auth, provider.whole_seconds, provider.retries) == ("api-key", 9.5, 3)
    assert open_credential(provider.credential, ()) == ""

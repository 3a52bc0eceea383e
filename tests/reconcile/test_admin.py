"""Accounts in the admin: operators alone, each change audited, the admin key written and never shown."""

import pytest
from django.conf import settings
from django.test import Client

from llmobs.providers.credentials import open_credential
from llmobs.reconcile.models import Account
from llmobs.tenants.models import AuditEntry
from tests.tenants.cast import Cast, make_cast

FORM = {
    "name": "openai",
    "kind": "openai",
    "providers": '["openai"]',
    "keys": "{}",
    "aliases": "{}",
    "is_enabled": "on",
}


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


def signed_in(user: object) -> Client:
    client = Client()
    client.force_login(user)  # type: ignore[arg-type]
    return client


def test_an_admin_key_goes_in_sealed_and_never_comes_out(cast: Cast) -> None:
    client = signed_in(cast.olga)
    made = client.post("/admin/reconcile/account/add/", {**FORM, "new_credential": "sk-admin-secret"})
    assert made.status_code == 302, made.content
    account = Account.objects.get()
    assert account.credential.startswith("sealed:")
    assert open_credential(account.credential, settings.SECRETS.encryption_keys) == "sk-admin-secret"
    assert "sk-admin" not in client.get(f"/admin/reconcile/account/{account.pk}/change/").content.decode()
    assert "sk-admin" not in str(AuditEntry.objects.get(kind="account").change)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"base_url": "ftp://x"}, "https://…"),
        ({"base_url": "https://x/?key=1"}, "https://…"),
        ({"keys": '["key"]'}, "Names by id"),
        ({"providers": '{"a": 1}'}, "A list of names"),
        ({"aliases": '{"a": 1}'}, "Our names by theirs"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(cast: Cast, wrong: dict[str, str], said: str) -> None:
    answer = signed_in(cast.olga).post("/admin/reconcile/account/add/", {**FORM, **wrong})
    assert said in answer.content.decode()
    assert Account.objects.count() == 0


@pytest.mark.parametrize("address", ["account", "report"])
def test_the_lists_are_operators_alone(cast: Cast, address: str) -> None:
    assert signed_in(cast.olga).get(f"/admin/reconcile/{address}/").status_code == 200
    assert signed_in(cast.alice).get(f"/admin/reconcile/{address}/").status_code in (302, 403)

"""`createkey`: a secret once, its hash for ever."""

import io

import pytest
from django.core.management import CommandError, call_command

from llmobs.tenants.keys import secret_hash
from llmobs.tenants.models import AuditEntry, Key, Tenant


def create(*arguments: str) -> str:
    out = io.StringIO()
    call_command("createkey", *arguments, stdout=out)
    return out.getvalue().strip()


@pytest.mark.django_db
def test_it_prints_a_key_of_the_tenant_whose_hash_alone_is_kept() -> None:
    acme = Tenant.objects.create(slug="acme", name="Acme")

    secret = create("--tenant", "acme")

    key = Key.objects.get()
    assert (key.tenant, key.secret_hash, key.prefix) == (acme, secret_hash(secret), secret[:14])
    assert secret not in str(AuditEntry.objects.values_list("change", flat=True))


@pytest.mark.django_db
def test_an_operator_key_belongs_to_no_tenant() -> None:
    create("--operator")

    assert Key.objects.get().tenant is None


@pytest.mark.django_db
def test_an_unknown_tenant_is_named_with_those_there_are() -> None:
    Tenant.objects.create(slug="acme", name="Acme")

    with pytest.raises(CommandError, match=r"no tenant 'acne' \(there are: acme\)"):
        create("--tenant", "acne")

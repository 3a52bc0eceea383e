"""A tenant's cache and a key's choice, as the configuration file says."""

import pytest
from cryptography.fernet import Fernet

from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse
from llmobs.tenants.models import Key, Tenant

pytestmark = pytest.mark.django_db

FILE = """
tenants:
  - slug: acme
    cache: {default: exact, ttl_seconds: {faq: 172800, news: 0, "*": 600}, most_mb: 8}
    keys:
      - {name: as-the-tenant}
      - {name: never, cache: off}
      - {name: always, cache: exact}
"""


def run(text: str) -> bool:
    """Apply the file; whether it changed anything."""
    return apply(parse(text), (Fernet.generate_key().decode(),)).has_changes


def test_a_tenants_cache_comes_from_the_file() -> None:
    """S0-10: switched on in configuration."""
    assert run(FILE)
    tenant = Tenant.objects.get(slug="acme")
    assert (tenant.cache, tenant.cache_mb) == ("exact", 8)
    assert tenant.cache_ttl_seconds == {"faq": 172_800, "news": 0, "*": 600}
    assert dict(Key.objects.values_list("name", "cache")) == {"as-the-tenant": "", "never": "off", "always": "exact"}
    assert not run(FILE)


def test_a_file_that_does_not_speak_of_the_cache_leaves_it() -> None:
    run(FILE)
    run("tenants: [{slug: acme}]")
    assert Tenant.objects.get(slug="acme").cache == "exact"

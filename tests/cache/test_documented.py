"""The documentation's example is a file that `apply` takes, and its page names what there is."""

import re
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from llmobs.cache.api import KINDS, BooksShown
from llmobs.cache.request_key import NOT_ALONE, UNTOLD
from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse
from llmobs.ops.configuring.tenant_cache import CacheEntry
from llmobs.tenants.models import Tenant

PAGE = (Path(__file__).parents[2] / "docs/cache.md").read_text()


@pytest.mark.django_db
def test_the_example_can_be_applied() -> None:
    example = re.search(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert example is not None
    apply(parse(example[1]), (Fernet.generate_key().decode(),))
    assert Tenant.objects.get(slug="acme").cache == "exact"


@pytest.mark.parametrize("name", [*CacheEntry.__struct_fields__, *KINDS, *UNTOLD, *NOT_ALONE])
def test_every_setting_and_field_is_named(name: str) -> None:
    assert f"`{name}" in PAGE or f"{name}:" in PAGE


def test_what_the_books_tell_is_named() -> None:
    assert {"entries", "bytes", "hits", "misses"} <= set(BooksShown().fields)
    assert "entries, bytes, hits, misses and savings" in PAGE

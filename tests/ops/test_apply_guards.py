"""`apply` sets what a tenant's guards do."""

from decimal import Decimal

import pytest

from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse
from llmobs.ops.configuring.entry import ConfigurationError
from llmobs.tenants.models import Tenant

pytestmark = pytest.mark.django_db

FILE = """
tenants:
  - slug: acme
    guards: {injection: block, injection_threshold: 0.85, sensitive_input: mask, sensitive_output: off,
             most_input_characters: 10000}
"""


def test_it_sets_what_the_guards_do_and_a_second_time_nothing_changes() -> None:
    apply(parse(FILE), ())
    again = apply(parse(FILE), ())
    tenant = Tenant.objects.get()
    assert (tenant.injection, tenant.sensitive_input, tenant.sensitive_output) == ("block", "mask", "off")
    assert (tenant.injection_threshold, tenant.most_input_characters) == (Decimal("0.85"), 10_000)
    assert not again.has_changes


@pytest.mark.parametrize(
    ("guards", "said"),
    [
        ("injection: mask", "tenants[0].guards.injection: Value 'mask' is not a valid choice"),
        ("sensitive_input: sometimes", "tenants[0].guards.sensitive_input: Value 'sometimes'"),
        ("injection_threshold: 1.5", "tenants[0].guards.injection_threshold: "),
        ("injection_threshold: 0", "tenants[0].guards.injection_threshold: "),
        ("most_input_characters: -1", "tenants[0].guards.most_input_characters: "),
    ],
)
def test_a_wrong_setting_is_named(guards: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        apply(parse(f"tenants: [{{slug: acme, guards: {{{guards}}}}}]"), ())
    assert said in str(refused.value)

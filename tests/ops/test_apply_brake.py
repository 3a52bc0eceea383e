"""S2-02: `apply` sets a tenant's brake and its marks."""

import pytest

from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse
from llmobs.ops.configuring.entry import ConfigurationError
from llmobs.tenants.models import Tenant

pytestmark = pytest.mark.django_db

FILE = 'tenants: [{slug: acme, brake: {mode: pause, marks: {alike_calls: 50, cost_usd: "0.50"}}}]'


def test_it_sets_the_brake_and_a_second_time_nothing_changes() -> None:
    apply(parse(FILE), ())
    again = apply(parse(FILE), ())
    tenant = Tenant.objects.get()
    assert (tenant.brake, tenant.brake_marks) == ("pause", {"alike_calls": 50, "cost_usd": "0.50"})
    assert not again.has_changes


def test_a_tenant_of_a_file_without_it_has_none() -> None:
    apply(parse("tenants: [{slug: acme}]"), ())
    assert Tenant.objects.get().brake == "off"


@pytest.mark.parametrize(
    ("brake", "said"),
    [
        ("mode: stop", "tenants[0].brake.brake: Value 'stop' is not a valid choice"),
        ("marks: {alike_calls: 0}", "tenants[0].brake.marks: "),
        ("marks: {loops: 5}", "there are window_seconds, cost_usd, alike_calls"),
    ],
)
def test_a_wrong_setting_is_named(brake: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        apply(parse(f"tenants: [{{slug: acme, brake: {{{brake}}}}}]"), ())
    assert said in str(refused.value)

"""How long kinds of data are kept: by the model's rules, over REST, in the admin and by `apply`."""

import pytest
from cryptography.fernet import Fernet

from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse
from llmobs.ops.configuring.entry import ConfigurationError
from llmobs.tenants.keeping import days_errors
from llmobs.tenants.models import AuditEntry, Tenant
from tests.tenants.cast import assert_problem, make_cast, make_key, with_key

FILE = """
tenants:
  - slug: acme
    retention_days: 90
    keeping: {content_days: 30, rollup_days: 800, bill_days: 3650, archive: full}
"""


@pytest.mark.parametrize(
    ("days", "wrong"),
    [
        ((400, None, None, None), []),
        ((90, 30, 800, 3650), []),
        ((0, None, None, None), ["retention_days"]),
        ((90, 91, None, None), ["content_retention_days"]),
        ((90, None, 0, None), ["rollup_retention_days"]),
        ((90, None, None, 89), ["bill_retention_days"]),
        ((40_000, None, None, None), ["retention_days"]),
    ],
)
def test_days_that_contradict_each_other_are_named(
    days: tuple[int, int | None, int | None, int | None], wrong: list[str]
) -> None:
    assert list(days_errors(*days)) == wrong


@pytest.mark.django_db
def test_the_file_sets_them_and_says_where_it_is_wrong() -> None:
    keys = (Fernet.generate_key().decode(),)
    apply(parse(FILE), keys)
    acme = Tenant.objects.get(slug="acme")
    assert (acme.retention_days, acme.content_retention_days, acme.rollup_retention_days) == (90, 30, 800)
    assert (acme.bill_retention_days, acme.archive) == (3650, "full")
    with pytest.raises(ConfigurationError, match=r"tenants\[0\]\.keeping\.content_days: Prompts"):
        apply(parse(FILE.replace("content_days: 30", "content_days: 100")), keys)
    apply(parse("tenants: [{slug: acme, keeping: {archive: off}}]"), keys)
    acme.refresh_from_db()
    assert (acme.content_retention_days, acme.archive) == (None, "off")


@pytest.mark.django_db
def test_an_operator_changes_them_over_rest_with_an_audit_entry_and_a_tenants_key_does_not() -> None:
    cast = make_cast()
    make_key(None, "root", "root")
    changed = {"content_retention_days": 30, "archive": "spans"}
    body = assert_problem(with_key("acme").patch("/api/v1/tenants/acme/", changed, format="json"), 403)
    assert body["detail"]
    assert with_key("globex").patch("/api/v1/tenants/acme/", changed, format="json").status_code == 404
    answer = with_key("root").patch("/api/v1/tenants/acme/", changed, format="json")
    assert (answer.status_code, answer.json()["content_retention_days"], answer.json()["archive"]) == (200, 30, "spans")
    entry = AuditEntry.objects.get(tenant=cast.acme, action="change")
    assert entry.change == {"content_retention_days": [None, 30], "archive": ["off", "spans"]}
    wrong = with_key("root").patch("/api/v1/tenants/acme/", {"content_retention_days": 401}, format="json")
    assert_problem(wrong, 400)

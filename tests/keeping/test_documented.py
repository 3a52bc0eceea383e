"""docs/keeping.md names what there is: settings, commands, tables that an erasure changes."""

import re
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from llmobs.keeping.backup import LEFT_OUT
from llmobs.keeping.erasing_texts import APART, CONFIGURED, LEFT_ALONE, tables
from llmobs.keeping.letting_go import BY_ROWS
from llmobs.keeping.place import VARIABLE
from llmobs.ops.apply import apply
from llmobs.ops.configuration import parse
from llmobs.ops.configuring.tenant_keeping import KeepingEntry
from llmobs.ops.management.commands import archive, backup, deadletters, erase, restore
from llmobs.tenants.keeping import ARCHIVES
from llmobs.tenants.models import Tenant
from tests.keeping.letting import Connection

PAGE = (Path(__file__).parents[2] / "docs/keeping.md").read_text()
# Tables with a user id that is an operator's or a member's of ours, not a tenant's user's.
OURS = {"account_emailaddress", "django_admin_log", "tenants_membership", "tenants_user_groups"} | {
    "tenants_user_user_permissions"
}


@pytest.mark.django_db
def test_the_example_can_be_applied() -> None:
    example = re.search(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert example is not None
    apply(parse(example[1]), (Fernet.generate_key().decode(),))
    assert Tenant.objects.get(slug="acme").content_retention_days == 30


@pytest.mark.parametrize(
    "name",
    [*KeepingEntry.__struct_fields__, *ARCHIVES, VARIABLE, backup.VARIABLE, *APART],
)
def test_every_setting_and_table_is_named(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("command", [archive, backup, deadletters, erase, restore])
def test_every_command_is_named(command: object) -> None:
    assert f"`manage.py {str(command.__name__).rsplit('.', 1)[1]}" in PAGE  # type: ignore[attr-defined]


def test_every_table_that_names_users_is_known_to_erasures(pg: Connection) -> None:
    rows = pg.execute(
        "SELECT DISTINCT table_name FROM information_schema.columns c JOIN pg_class t ON t.relname = c.table_name "
        "WHERE column_name IN ('user_id', 'users') AND table_schema = 'public' AND NOT t.relispartition"
    ).fetchall()
    known = {table.name for table in tables(pg)} | APART.keys() | OURS
    assert {str(name) for (name,) in rows} - known == set()


def test_what_erasures_know_by_name_exists(pg: Connection) -> None:
    for table in (*APART, *CONFIGURED, *LEFT_ALONE):
        assert pg.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,), table


def test_what_goes_by_rows_and_what_is_left_out_exist(pg: Connection) -> None:
    for table in (*BY_ROWS, *LEFT_OUT):
        assert pg.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,)

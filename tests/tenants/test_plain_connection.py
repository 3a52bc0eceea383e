"""What plain modules ask through Django's connection is asked as the web's role: the tenants said and no others."""

import psycopg
import pytest
from django.db import connection, transaction

from llmobs.budgets.definition import load
from llmobs.tenants import seeing
from llmobs.tenants.models import Tenant
from llmobs.tenants.plain_connection import plain_connection
from tests.budgets.made import make_budget

OURS, THEIRS = 101, 102


@pytest.fixture(autouse=True)
def budgets(pg: "psycopg.Connection[tuple[object, ...]]") -> None:
    for tenant_id, slug in ((OURS, "ours"), (THEIRS, "theirs")):
        Tenant.objects.create(pk=tenant_id, slug=slug, name=slug)
        make_budget(pg, tenant_id, name=slug)


def whose() -> set[int]:
    return {info.tenant_id for info in load(plain_connection()).infos}


@pytest.mark.parametrize(
    ("said", "seen"), [(str(OURS), {OURS}), (seeing.EVERYTHING, {OURS, THEIRS}), (seeing.NOTHING, set())]
)
def test_budgets_are_those_of_the_tenants_said(said: str, seen: set[int]) -> None:
    with seeing.seeing(said):
        assert whose() == seen
        with transaction.atomic():
            assert whose() == seen
        assert whose() == seen


def test_what_is_changed_is_of_the_tenants_said() -> None:
    with seeing.seeing(str(OURS)):
        changed = plain_connection().execute("UPDATE budgets_budget SET name = 'mine'")
    assert changed.rowcount == 1


def test_it_is_asked_as_the_webs_role() -> None:
    with seeing.seeing(str(OURS)):
        told = plain_connection().execute("SELECT current_user, current_setting(%s)", [seeing.SETTING]).fetchone()
    assert told == ("llmobs_web", str(OURS))
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() != ("llmobs_web",)

"""Dead letters on the overview: operators are told how many wait, since when, and where they are replayed."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape
from typing import Any

import psycopg
import pytest
from django.test import Client

from tests.dashboards.cast import Cast
from tests.dashboards.test_statements import counted

SINCE = datetime(2026, 3, 4, 11, 30, tzinfo=UTC)
Bury = Callable[..., None]


@pytest.fixture
def bury(pg: "psycopg.Connection[Any]") -> Bury:
    def buried(letter_id: int, tenant_id: int, replayed_at: datetime | None = None) -> None:
        pg.execute(
            "INSERT INTO dead_letter (letter_id, tenant_id, kind, reason, entry, owner, position, library, at, "
            "replayed_at) VALUES (%s, %s, 'OtlpBody', 'KeyError', '', 'g', 0, '', %s, %s)",
            (letter_id, tenant_id, SINCE, replayed_at),
        )
        pg.commit()

    return buried


def told(client: Client, **query: str) -> str:
    """What the overview says of them, its tags taken away; "" for nothing."""
    page = unescape(re.sub(r"<[^>]+>", "", client.get("/", query).content.decode()))
    found = re.search(r"\d+ reports? could not be written[^:]*:[^.]*\.", page)
    return found[0] if found else ""


def test_an_operator_is_told_how_many_wait_and_since_when(cast: Cast, bury: Bury) -> None:
    for letter_id, tenant_id in enumerate((cast.acme.pk, cast.globex.pk, 0), 1):
        bury(letter_id, tenant_id)
    bury(4, cast.acme.pk, replayed_at=SINCE)
    said = told(cast.as_(cast.operator))
    assert said.startswith("3 reports could not be written since 2026-03-04 ")
    assert said.endswith("replay or drop the dead letters.")


def test_of_a_chosen_tenant_its_own_are_told(cast: Cast, bury: Bury) -> None:
    bury(1, cast.acme.pk)
    bury(2, 0)
    operator = cast.as_(cast.operator)
    assert told(operator, tenant="acme").startswith("1 report could not be written")
    assert told(operator, tenant="globex") == ""


@pytest.mark.parametrize("tenant", ["*", "acme"])
def test_the_link_leads_to_where_they_are_replayed(cast: Cast, bury: Bury, tenant: str) -> None:
    bury(1, cast.acme.pk)
    bury(2, cast.globex.pk)
    operator = cast.as_(cast.operator)
    page = operator.get("/", {"tenant": tenant}).content.decode()
    links = {unescape(link) for link in re.findall(r'href="([^"]+deadletter[^"]+)"', page)}
    assert len(links) == 1
    listed = operator.get(links.pop())
    assert listed.status_code == 200
    assert len(re.findall(r'name="_selected_action"', listed.content.decode())) == (2 if tenant == "*" else 1)


def test_nobody_else_is_told_and_nothing_is_said_where_none_wait(cast: Cast, bury: Bury) -> None:
    operator = cast.as_(cast.operator)
    assert told(operator) == ""
    bury(1, cast.acme.pk)
    assert told(cast.as_(cast.alice)) == ""
    assert told(cast.as_(cast.charlie)) == ""


def test_it_is_told_where_there_are_no_calls_yet(empty_cast: Cast, bury: Bury) -> None:
    bury(1, empty_cast.acme.pk)
    assert told(empty_cast.as_(empty_cast.operator)).startswith("1 report could not be written")


def test_it_asks_one_statement_of_operators_whatever_waits(cast: Cast, bury: Bury) -> None:
    operator = cast.as_(cast.operator)
    none = counted(operator, "/?last=24h&tenant=*")
    for letter_id in range(1, 20):
        bury(letter_id, cast.acme.pk)
    assert counted(operator, "/?last=24h&tenant=*") == none

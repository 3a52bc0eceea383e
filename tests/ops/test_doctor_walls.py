"""`doctor` on the second wall: a row, never a failure; looked at as the web's role itself."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from llmobs.ops.checklist import State, is_ready
from llmobs.ops.checklist_walls import second_wall
from llmobs.ops.embedded_postgres import WEB_USER
from tests.stores import Stores


@pytest.fixture
def shaken(pg: "psycopg.Connection[Any]") -> "Iterator[psycopg.Connection[Any]]":
    """The owner's connection; afterwards the role is what it was."""
    yield pg
    pg.execute(f"ALTER ROLE {WEB_USER} NOBYPASSRLS LOGIN; REVOKE llmobs FROM {WEB_USER}")


def test_it_stands(pg: "psycopg.Connection[Any]") -> None:
    found = second_wall()
    assert (found.state, found.how) == (State.SET, f"the web is {WEB_USER}, and sees one request's tenants at a time")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (f"ALTER ROLE {WEB_USER} BYPASSRLS", "it has BYPASSRLS"),
        (f"GRANT llmobs TO {WEB_USER}", "no policy binds it on alerts_alert"),
        (f"ALTER ROLE {WEB_USER} NOLOGIN", f"cannot connect as {WEB_USER}"),
    ],
)
def test_a_role_that_it_does_not_bind_is_told(shaken: "psycopg.Connection[Any]", change: str, told: str) -> None:
    shaken.execute(change)
    found = second_wall()
    assert found.state is State.MISSING
    assert told.removeprefix("it has ") in found.how
    assert is_ready([found])


def test_with_one_role_there_is_none_and_it_says_so(
    migrated: Stores, settings: Any, pg: "psycopg.Connection[Any]"
) -> None:
    settings.CONNECTIONS = replace(settings.CONNECTIONS, web_database_url="")
    found = second_wall()
    assert (found.priority, found.state) == ("P2", State.MISSING)
    assert "WEB_DATABASE_URL" in found.how
    assert is_ready([found])

"""The cast as fixtures. Its module is imported in them, since this file is read before Django is set up."""

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.dashboards.cast import Cast


@pytest.fixture
def empty_cast(transactional_db: None, pg: "psycopg.Connection[Any]") -> "Cast":
    """Tenants and people without any traffic."""
    from tests.dashboards.cast import without_traffic

    return without_traffic(pg)


@pytest.fixture
def cast(empty_cast: "Cast", pg: "psycopg.Connection[Any]") -> "Cast":
    """The same with traffic and two budgets."""
    from tests.dashboards.cast import with_traffic

    return with_traffic(empty_cast, pg)

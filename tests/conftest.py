"""Fixtures for all: real PostgreSQL and Valkey, one of each per run (tests/stores.py).

`pg`            psycopg connection (autocommit; `with pg.transaction()` for more) to the migrated test database
`database_url`  its address, for what connects by itself; use `pg` too, so that the database is emptied afterwards
`valkey_url`    the ledger's database of the test Valkey
`valkey`        redis-py client on it, empty
pytest-django's own (`db`, `client`, `live_server` …) work on the same database.
"""

from collections.abc import Iterator

import psycopg
import pytest
import redis
from django.conf import settings
from django.test import TransactionTestCase
from hypothesis import HealthCheck
from hypothesis import settings as examples

from tests.shard_rules import Watch, watched
from tests.stores import Stores, set_environment

# A busy machine is no fault, and our fixtures that are made once for all examples are meant so.
examples.register_profile(
    "llmobs", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
examples.load_profile("llmobs")

_stores = pytest.StashKey[Stores]()
_kept = pytest.StashKey[frozenset[str]]()
_WRITES = {"pg", "database_url", "transactional_db", "live_server"}


def pytest_configure(config: pytest.Config) -> None:
    """Before Django's settings are read (pytest-django does that last)."""
    if settings.configured:
        raise pytest.UsageError("unset DJANGO_SETTINGS_MODULE: tests must not read the settings of a platform in use")
    config.stash[_stores] = stores = Stores()
    set_environment(stores.environment())
    assert settings.DATABASES  # reads them now


def pytest_unconfigure(config: pytest.Config) -> None:
    if (stores := config.stash.get(_stores, None)) is not None:
        stores.stop()


@pytest.fixture(scope="session")
def stores(request: pytest.FixtureRequest) -> Stores:
    """Both servers, running."""
    stores = request.config.stash[_stores]
    stores.start_postgres()
    return stores


@pytest.fixture(scope="session")
def django_db_modify_db_settings(stores: Stores) -> None:
    """pytest-django asks for this before it makes the test database."""


@pytest.fixture(scope="session")
def migrated(django_db_setup: None, stores: Stores, request: pytest.FixtureRequest) -> Stores:
    """The test database with its partitions."""
    stores.make_partitions()
    request.config.stash[_kept] = frozenset(stores.filled_tables())
    return stores


@pytest.fixture(scope="session", autouse=True)
def _partitions_for_django(request: pytest.FixtureRequest) -> None:
    """Tests that write through Django alone need the partitions too."""
    if any("django_db_setup" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("migrated")


def _commits(item: pytest.Item) -> bool:
    """Whether what a test writes stays, so that it must be taken away."""
    marker = item.get_closest_marker("django_db")
    is_marked = marker is not None and bool(marker.kwargs.get("transaction") or marker.args[:1] == (True,))
    return is_marked or bool(_WRITES & set(getattr(item, "fixturenames", ())))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """pytest-django makes its database only if a test is marked; `pg` alone asks for it too."""
    for item in items:
        if _commits(item) and item.get_closest_marker("django_db") is None:
            item.add_marker(pytest.mark.django_db(transaction=True))


@pytest.fixture(scope="session", autouse=True)
def _no_flush() -> Iterator[None]:
    """`_emptied` does it: Django's flush truncates the empty tables too and makes every permission anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: None)
        yield


@pytest.fixture(autouse=True)
def _emptied(request: pytest.FixtureRequest) -> Iterator[None]:
    """Empty the database once all of the test's fixtures have let go of it: set up first, so torn down last."""
    if not _commits(request.node):
        yield
        return
    stores: Stores = request.getfixturevalue("migrated")
    yield
    stores.empty_database(request.config.stash[_kept])


@pytest.fixture(scope="session")
def _watch() -> Iterator[Watch]:
    with watched() as watch:
        yield watch


@pytest.fixture(autouse=True)
def _tenants_are_named(_watch: Watch) -> Iterator[None]:
    """A statement of ours that passes over tenants fails the test in which it is first run (tests/shard_rules.py)."""
    yield
    assert _watch.told() == []


@pytest.fixture
def database_url(migrated: Stores) -> str:
    """Address of the migrated test database, password included."""
    return migrated.database_url


@pytest.fixture
def pg(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection to the test database, which is emptied after the test."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


@pytest.fixture(scope="session")
def valkey_url(request: pytest.FixtureRequest) -> str:
    """Address of the test Valkey's ledger database."""
    return request.config.stash[_stores].valkey.url()


@pytest.fixture
def valkey(valkey_url: str) -> Iterator["redis.Redis"]:
    """A client on an empty Valkey."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
        yield client

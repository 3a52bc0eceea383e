"""For tests that look into the database: a gateway for each test, and the writer that reads its journal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from llmobs.core.env import Secrets
from llmobs.ingest.writing import Writer
from tests.gateway.running import PLATFORM_SECRET, Gateway, running
from tests.stores import Stores

Connection = psycopg.Connection[Any]


@pytest.fixture
def shared_gateway(tmp_path: Path, migrated: Stores, valkey_url: str) -> Iterator[Gateway]:
    """One for each test: the writer reads its journal from the beginning."""
    with running(tmp_path, migrated.database_url, valkey_url) as gateway:
        yield gateway


@pytest.fixture
def writer(gateway: Gateway, pg: Connection, valkey: redis.Redis) -> Writer:
    return writer_of(gateway, pg, valkey)


def writer_of(gateway: Gateway, pg: Connection, valkey: redis.Redis) -> Writer:
    """The writer over one gateway's journal."""
    wiring = gateway.wiring
    secrets = Secrets(PLATFORM_SECRET, wiring.encryption_keys, wiring.journal_key, "", "", "")
    return Writer(wiring.journal, secrets, pg, valkey)

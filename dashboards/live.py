"""The web's way to the ledger, and to the budgets as configured now."""

from functools import cache

import redis
from django.conf import settings

from llmobs.budgets.definition import Budgets, load
from llmobs.tenants.plain_connection import plain_connection

TIMEOUT_SECONDS = 0.5  # a page is not kept waiting for what it can leave out


def budgets_now() -> Budgets:
    """All active budgets, as configured now."""
    return load(plain_connection())


@cache
def ledger_client() -> "redis.Redis":
    """One client (a pool of connections) for this process; pages show "–" for what is held where it fails."""
    return redis.Redis.from_url(
        settings.VALKEY_URL, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=None
    )

"""The web's connection to where gateways share pauses: the ledger's server and database."""

from functools import cache

import redis
from django.conf import settings

TIMEOUT_SECONDS = 2.0


@cache
def brake_client() -> "redis.Redis":
    """One client (a pool of connections) for this process."""
    return redis.Redis.from_url(
        settings.VALKEY_URL, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=None
    )

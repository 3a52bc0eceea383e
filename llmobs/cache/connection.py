"""The web's connection to the cache: the ledger's server and database, where the gateways keep their entries."""

from functools import cache

import redis
from django.conf import settings

TIMEOUT_SECONDS = 2.0  # an invalidation is worth waiting for


@cache
def cache_client() -> "redis.Redis":
    """One client (a pool of connections) for this process."""
    return redis.Redis.from_url(
        settings.VALKEY_URL, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=None
    )

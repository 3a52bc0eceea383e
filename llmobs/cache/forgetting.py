"""Forgetting answers, with the entry in the audit trail: the one way for the REST API and the admin."""

from collections.abc import Sequence

from django.db import transaction

from llmobs.cache import status, store
from llmobs.cache.connection import cache_client
from llmobs.tenants import audit
from llmobs.tenants.models import Tenant


def forget(tenant: Tenant, names: Sequence[str], actor: str) -> None:
    """Forget the tenant's entries that bear one of the names (`store.name`; `store.TENANT`: all).

    Raises RedisError where Valkey cannot be reached: then nothing is forgotten, and no entry says so.
    """
    with transaction.atomic():
        audit.record(actor, "invalidate", tenant, {"cache": [list(names), None]})
        if store.TENANT in names:
            status.empty(cache_client(), tenant.pk)
        else:
            status.invalidate(cache_client(), tenant.pk, names)

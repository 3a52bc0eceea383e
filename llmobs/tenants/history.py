"""Whether anything was recorded for a tenant: its bills and spans must not lose their owner."""

from django.db import connection

from llmobs.tenants.models import Tenant


def has_history(tenant: Tenant) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM bill WHERE tenant_id = %(id)s) "
            "OR EXISTS (SELECT 1 FROM span WHERE tenant_id = %(id)s)",
            {"id": tenant.pk},
        )
        return bool(cursor.fetchone()[0])

"""The cache has no rows of its own: its settings are the tenant's, its entries rest in Valkey."""

from llmobs.tenants.models import Tenant


class TenantCache(Tenant):
    """A tenant, as the admin's list of caches shows it."""

    class Meta:
        proxy = True
        ordering = ("slug",)
        verbose_name = "response cache"
        verbose_name_plural = "response caches"

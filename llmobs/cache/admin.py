"""The tenants' response caches in the admin: what they hold and have saved, and a way to empty them."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from redis.exceptions import RedisError

from llmobs.cache import status, store
from llmobs.cache.connection import cache_client
from llmobs.cache.forgetting import forget
from llmobs.cache.models import TenantCache
from llmobs.core.money import exact_usd
from llmobs.tenants.audited import ReadOnly, actor_of
from llmobs.tenants.models import Tenant

UNKNOWN = "–"


@admin.register(TenantCache)
class TenantCacheAdmin(ReadOnly):
    list_display = ("slug", "cache", "most", "entries", "kilobytes", "hits", "misses", "saved_tokens", "saved_usd")
    list_display_links = None
    search_fields = ("slug", "name")
    actions = ("empty_caches",)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        found = super().get_changelist_instance(request)
        tenants = list(found.result_list)
        try:
            told = status.books(cache_client(), [tenant.pk for tenant in tenants])
        except (RedisError, OSError):  # a page is shown without what Valkey would say
            self.message_user(request, "Valkey cannot be reached: what the caches hold is not known.", messages.WARNING)
            return found
        for tenant, each in zip(tenants, told, strict=True):
            tenant.books = each
        found.result_list = tenants
        return found

    @admin.action(description="Empty: every cached answer of these tenants is forgotten")
    def empty_caches(self, request: HttpRequest, queryset: QuerySet[TenantCache]) -> None:
        try:
            for tenant in Tenant.objects.filter(pk__in=queryset.values("pk")):
                forget(tenant, [store.TENANT], actor_of(request))
        except (RedisError, OSError):
            self.message_user(request, "Valkey cannot be reached: not all was forgotten. Try again.", messages.ERROR)
            return
        self.message_user(request, f"{len(queryset)} emptied.")

    @admin.display(description="Most MB", ordering="cache_mb")
    def most(self, obj: TenantCache) -> int:
        return obj.cache_mb

    @admin.display(description="Entries")
    def entries(self, obj: TenantCache) -> str:
        return _of(obj, lambda books: f"{books.entries:,}")

    @admin.display(description="KB")
    def kilobytes(self, obj: TenantCache) -> str:
        return _of(obj, lambda books: f"{books.bytes / 1024:,.0f}")

    @admin.display(description="Hits")
    def hits(self, obj: TenantCache) -> str:
        return _of(obj, lambda books: f"{books.hits:,}")

    @admin.display(description="Misses")
    def misses(self, obj: TenantCache) -> str:
        return _of(obj, lambda books: f"{books.misses:,}")

    @admin.display(description="Saved tokens")
    def saved_tokens(self, obj: TenantCache) -> str:
        return _of(obj, lambda books: f"{books.saved_tokens:,}")

    @admin.display(description="Saved USD")
    def saved_usd(self, obj: TenantCache) -> str:
        return _of(obj, lambda books: exact_usd(books.saved_nanousd))


def _of(obj: TenantCache, told: Any) -> str:
    books = getattr(obj, "books", None)
    return UNKNOWN if books is None else str(told(books))

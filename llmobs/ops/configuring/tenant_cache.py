"""A tenant's part `cache`: whether answers are kept, how long by feature, and how much."""

from llmobs.ops.configuring.applying import Applying, at, refuse
from llmobs.ops.configuring.entry import Entry, Part
from llmobs.tenants import caching
from llmobs.tenants.models import Tenant


class CacheEntry(Entry, frozen=True):
    default: bool | str = "off"  # YAML reads a bare off as false
    ttl_seconds: dict[str, int] = {}
    most_mb: int = caching.DEFAULT_MB


def apply(applying: Applying, tenant: Tenant, entry: CacheEntry, path: str) -> None:
    with at(path):
        tenant.cache = "off" if entry.default is False else str(entry.default)
        tenant.cache_ttl_seconds = dict(entry.ttl_seconds)
        tenant.cache_mb = entry.most_mb
        if error := caching.mode_error(tenant.cache, is_key=False):
            refuse("default", error)
        applying.save(tenant)


CACHE = Part(
    "cache",
    CacheEntry,
    apply,
    named=lambda _: "cache",
    explained="default (off, exact), ttl_seconds by feature ({faq: 172800, '*': 3600}; 0: not at all), most_mb",
    is_single=True,
)

"""Django's entry for the cache app."""

from django.apps import AppConfig


class CacheConfig(AppConfig):
    name = "llmobs.cache"
    label = "cache"
    verbose_name = "Response cache"
    default_auto_field = "django.db.models.BigAutoField"

"""Django's entry for the tenants app."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "llmobs.tenants"
    label = "tenants"
    default_auto_field = "django.db.models.BigAutoField"

"""Django's entry for the providers app."""

from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    name = "llmobs.providers"
    label = "providers"
    default_auto_field = "django.db.models.BigAutoField"

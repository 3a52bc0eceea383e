"""Django's entry for the guards app."""

from django.apps import AppConfig


class GuardsConfig(AppConfig):
    name = "llmobs.guards"
    label = "guards"
    default_auto_field = "django.db.models.BigAutoField"

"""Django's entry for the health app."""

from django.apps import AppConfig


class HealthConfig(AppConfig):
    name = "llmobs.health"
    label = "health"
    default_auto_field = "django.db.models.BigAutoField"

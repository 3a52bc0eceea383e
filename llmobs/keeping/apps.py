"""Django's entry for the keeping app."""

from django.apps import AppConfig


class KeepingConfig(AppConfig):
    name = "llmobs.keeping"
    label = "keeping"
    default_auto_field = "django.db.models.BigAutoField"

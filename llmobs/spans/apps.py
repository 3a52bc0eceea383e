"""Django's entry for the spans app."""

from django.apps import AppConfig


class SpansConfig(AppConfig):
    name = "llmobs.spans"
    label = "spans"
    default_auto_field = "django.db.models.BigAutoField"

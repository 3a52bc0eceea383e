"""Django's entry for the ingest app."""

from django.apps import AppConfig


class IngestConfig(AppConfig):
    name = "llmobs.ingest"
    label = "ingest"
    default_auto_field = "django.db.models.BigAutoField"

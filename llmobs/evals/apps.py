"""Django's entry for the evals app."""

from django.apps import AppConfig


class EvalsConfig(AppConfig):
    name = "llmobs.evals"
    label = "evals"
    default_auto_field = "django.db.models.BigAutoField"

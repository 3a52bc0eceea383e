"""Django's entry for the prompts app."""

from django.apps import AppConfig


class PromptsConfig(AppConfig):
    name = "llmobs.prompts"
    label = "prompts"
    default_auto_field = "django.db.models.BigAutoField"

"""Django's entry for the limits app."""

from django.apps import AppConfig


class LimitsConfig(AppConfig):
    name = "llmobs.limits"
    label = "limits"
    default_auto_field = "django.db.models.BigAutoField"

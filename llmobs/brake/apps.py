"""Django's entry for the brake app."""

from django.apps import AppConfig


class BrakeConfig(AppConfig):
    name = "llmobs.brake"
    label = "brake"
    default_auto_field = "django.db.models.BigAutoField"

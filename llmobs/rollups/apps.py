"""Django's entry for the rollups app."""

from django.apps import AppConfig


class RollupsConfig(AppConfig):
    name = "llmobs.rollups"
    label = "rollups"
    default_auto_field = "django.db.models.BigAutoField"

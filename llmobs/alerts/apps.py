"""Django's entry for the alerts app."""

from django.apps import AppConfig


class AlertsConfig(AppConfig):
    name = "llmobs.alerts"
    label = "alerts"
    default_auto_field = "django.db.models.BigAutoField"

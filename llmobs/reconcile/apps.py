"""Django's entry for the reconcile app."""

from django.apps import AppConfig


class ReconcileConfig(AppConfig):
    name = "llmobs.reconcile"
    label = "reconcile"
    default_auto_field = "django.db.models.BigAutoField"

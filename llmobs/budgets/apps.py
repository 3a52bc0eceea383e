"""Django's entry for the budgets app."""

from django.apps import AppConfig


class BudgetsConfig(AppConfig):
    name = "llmobs.budgets"
    label = "budgets"
    default_auto_field = "django.db.models.BigAutoField"

"""Django's entry for the pricing app."""

from django.apps import AppConfig


class PricingConfig(AppConfig):
    name = "llmobs.pricing"
    label = "pricing"
    default_auto_field = "django.db.models.BigAutoField"

"""The pages as a Django app: it has templates and static files, but no tables."""

from django.apps import AppConfig


class DashboardsConfig(AppConfig):
    name = "dashboards"

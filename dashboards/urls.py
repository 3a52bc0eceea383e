"""The pages' addresses."""

from django.urls import path

from dashboards.views import frame, overview

app_name = "dashboards"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("traces/", overview.overview, name="traces"),
    path("traces/<str:trace_id>/", overview.overview, name="trace"),
    path("costs/", overview.overview, name="costs"),
    path("budgets/", overview.overview, name="budgets"),
    path("theme/", frame.theme, name="theme"),
]

"""Which address goes where."""

from django.contrib import admin
from django.urls import include, path

from llmobs.ops import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.account.urls")),
]

"""The pages before everything else, as `llmobs.urls` has them."""

from django.urls import include, path

urlpatterns = [path("", include("dashboards.urls")), path("", include("llmobs.urls"))]

"""Which address goes where."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from dashboards.api.budgets import BudgetStatus
from dashboards.api.conformance import Conformance
from dashboards.api.explain import Explain
from dashboards.api.figures import Metrics
from dashboards.api.reconcile import Differences, Reconciled
from dashboards.api.repricings import RepricingResource, UnpricedRows
from dashboards.api.traces import TraceList, WholeTrace
from dashboards.api.usage import UsageRows
from llmobs.alerts.api import AlertList, ChannelResource, DeliveryList, RuleResource, press
from llmobs.brake.api import Brakes
from llmobs.budgets.api import BudgetResource
from llmobs.cache.api import Caches, Invalidate
from llmobs.evals.api import JudgeResource, ScoreList
from llmobs.guards.api import SecurityEventList
from llmobs.health.api import ProviderHealthResource
from llmobs.keeping.api import DeadLetterResource, ErasureResource
from llmobs.limits.api import LimitResource
from llmobs.ops import health
from llmobs.pricing.api import PriceResource
from llmobs.prompts.api import PromptResource
from llmobs.providers.api import RouteResource
from llmobs.reconcile import api as reconcile
from llmobs.tenants import problem
from llmobs.tenants.api import AuditTrail, KeyResource, TenantResource

# The admin's own sign-in knows no rate limits: people go through the one that does.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

router = SimpleRouter()
router.register("tenants", TenantResource, "tenant")
router.register("keys", KeyResource, "key")
router.register("budgets", BudgetResource, "budget")
router.register("limits", LimitResource, "limit")
router.register("providers", ProviderHealthResource, "provider")
router.register("models", PriceResource, "price")
router.register("repricings", RepricingResource, "repricing")
router.register("routes", RouteResource, "route")
router.register("prompts", PromptResource, "prompt")
router.register("judges", JudgeResource, "judge")
router.register("alert-channels", ChannelResource, "channel")
router.register("alert-rules", RuleResource, "alert-rule")
router.register("alerts/deliveries", DeliveryList, "delivery")
router.register("alerts", AlertList, "alert")
router.register("scores", ScoreList, "score")
router.register("security-events", SecurityEventList, "security-event")
router.register("brake", Brakes, "brake")
router.register("audit", AuditTrail, "audit")
router.register("dead-letters", DeadLetterResource, "dead-letter")
router.register("erasures", ErasureResource, "erasure")
router.register("reconcile/reports", reconcile.ReportList, "reconcile-report")

api = [
    *router.urls,
    path("budgets/<str:pk>/status/", BudgetStatus.as_view()),
    path("traces/", TraceList.as_view()),
    path("traces/<str:trace_id>/", WholeTrace.as_view()),
    path("metrics/", Metrics.as_view()),
    path("conformance/", Conformance.as_view()),
    path("usage/", UsageRows.as_view()),
    path("unpriced/", UnpricedRows.as_view()),
    path("explain/", Explain.as_view()),
    path("reconcile/", Reconciled.as_view()),
    path("reconcile/differences/", Differences.as_view()),
    path("cache/", Caches.as_view()),
    path("cache/invalidate/", Invalidate.as_view()),
]

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    path("api/v1/", include((api, "api"))),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(), name="docs"),
    re_path(r"^api/(?P<path>.*)$", problem.not_found),
    path("alerts/<slug:what>/<int:pk>/<slug:verb>/", press, name="alert-press"),
    path("admin/", admin.site.urls),
    path("reconcile/import/", reconcile.upload, name="reconcile-upload"),
    path("reconcile/<slug:account>/<str:month>/again/", reconcile.again, name="reconcile-again"),
    path("", include("dashboards.urls")),  # draws the sign-in itself: before allauth's
    path("accounts/", include("allauth.account.urls")),
]

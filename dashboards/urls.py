"""The pages' addresses."""

from django.urls import path

from dashboards.views import (
    account,
    alerts,
    brake,
    budgets,
    conformance,
    costs,
    easing,
    explain,
    frame,
    overview,
    prices,
    prompts,
    providers,
    reconcile,
    repricing,
    trace,
    traces,
    unpriced,
    usage,
)

app_name = "dashboards"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("traces/", traces.trace_list, name="traces"),
    path("traces/<str:trace_id>/", trace.one_trace, name="trace"),
    path("conformance/", conformance.conformance, name="conformance"),
    path("costs/", costs.costs, name="costs"),
    path("usage/", usage.usage, name="usage"),
    path("usage/statement/", usage.statement, name="statement"),
    path("budgets/", budgets.budgets, name="budgets"),
    path("budgets/<str:pk>/ease/", easing.ease, name="ease"),
    path("reconcile/", reconcile.reconcile, name="reconcile"),
    path("prices/", prices.price_list, name="prices"),
    path("repricing/", repricing.repricing, name="repricing"),
    path("repricing/ask/", repricing.ask, name="ask-repricing"),
    path("repricing/<int:pk>/apply/", repricing.apply, name="apply-repricing"),
    path("repricing/<int:pk>/undo/", repricing.undo, name="undo-repricing"),
    path("unpriced/", unpriced.unpriced, name="unpriced"),
    path("explain/", explain.explain, name="explain"),
    path("providers/", providers.provider_list, name="providers"),
    path("alerts/", alerts.alerts_page, name="alerts"),
    path("prompts/", prompts.prompt_list, name="prompts"),
    path("brake/", brake.brake_list, name="brake"),
    path("brake/<str:given>/", brake.one_runaway, name="runaway"),
    path("brake/<str:given>/end/", brake.end, name="end-runaway"),
    path("accounts/login/", account.SignIn.as_view(), name="sign-in"),
    path("theme/", frame.theme, name="theme"),
]

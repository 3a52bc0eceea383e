"""The admin in the colours of the pages: Unfold's scales, from the same tokens (light and dark ink, ground, accent)."""

from typing import Any

from django.urls import reverse_lazy


def _entry(title: str, icon: str, address: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{address}_changelist")}


THEME: dict[str, Any] = {
    "SITE_TITLE": "llmobs",
    "SITE_HEADER": "llmobs",
    "SITE_URL": "/",
    "SITE_SYMBOL": "monitoring",
    "SHOW_HISTORY": False,  # the audit trail tells more
    "SHOW_VIEW_ON_SITE": True,
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "base": {
            "50": "#f6f6f3",
            "100": "#f0f0ec",
            "200": "#e4e4de",
            "300": "#c6c6be",
            "400": "#92959e",
            "500": "#666971",
            "600": "#4c4f57",
            "700": "#454851",
            "800": "#292b31",
            "900": "#18191d",
            "950": "#111215",
        },
        "primary": {
            "50": "#f4f5fb",
            "100": "#e9ecfa",
            "200": "#dfe3f7",
            "300": "#b9c1ee",
            "400": "#93a4ff",
            "500": "#7280e6",
            "600": "#3143b4",
            "700": "#2a3a9c",
            "800": "#2a3158",
            "900": "#262b40",
            "950": "#1f222c",
        },
        "font": {
            "subtle-light": "#666971",
            "subtle-dark": "#92959e",
            "default-light": "#4c4f57",
            "default-dark": "#b4b7be",
            "important-light": "#1a1b1f",
            "important-dark": "#ececee",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "Who",
                "items": [
                    _entry("Tenants", "apartment", "tenants_tenant"),
                    _entry("Keys", "key", "tenants_key"),
                    _entry("People", "person", "tenants_user"),
                    _entry("Audit trail", "history", "tenants_auditentry"),
                    _entry("Security events", "shield", "guards_securityevent"),
                ],
            },
            {
                "title": "Money",
                "items": [
                    _entry("Budgets", "savings", "budgets_budget"),
                    _entry("Limits", "speed", "limits_limit"),
                    _entry("Prices", "sell", "pricing_price"),
                    _entry("Provider accounts", "receipt_long", "reconcile_account"),
                ],
            },
            {
                "title": "Service",
                "items": [
                    _entry("Providers", "dns", "providers_provider"),
                    _entry("Routes", "alt_route", "providers_route"),
                    _entry("Response caches", "cached", "cache_tenantcache"),
                ],
            },
            {
                "title": "Quality",
                "items": [
                    _entry("Prompts", "chat", "prompts_prompt"),
                    _entry("Prompt versions", "difference", "prompts_promptversion"),
                    _entry("A/B tests", "science", "prompts_experiment"),
                    _entry("Judges", "gavel", "evals_judge"),
                    _entry("Judgements", "fact_check", "evals_judgement"),
                    _entry("Scores", "star", "evals_score"),
                ],
            },
            {
                "title": "Alerts",
                "items": [
                    _entry("Channels", "campaign", "alerts_channel"),
                    _entry("Rules", "rule", "alerts_alertrule"),
                    _entry("Alerts", "notifications", "alerts_alert"),
                    _entry("Deliveries", "outbox", "alerts_delivery"),
                ],
            },
        ],
    },
}

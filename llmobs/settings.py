"""Django's settings, read once from the environment through `core.env`."""
SECRET_KEY = "provisional"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes",
    "llmobs.tenants", "llmobs.pricing", "llmobs.providers", "llmobs.spans", "llmobs.budgets",
    "llmobs.rollups", "llmobs.ingest", "llmobs.evals", "llmobs.alerts",
]
AUTH_USER_MODEL = "tenants.User"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "x"}}

"""Django's settings, read once from the environment and the data folder through `core.env`."""

import ipaddress
from typing import Any
from urllib.parse import unquote, urlsplit

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from psycopg.conninfo import conninfo_to_dict

from llmobs.alerts.addresses import DEFAULT_SCHEMES, KNOWN_SCHEMES
from llmobs.core.env import (
    BROKER_DB,
    CACHE_DB,
    Connections,
    EnvError,
    Place,
    read_bool,
    read_database_url_from_env,
    read_int,
    read_list,
    read_str,
    with_db,
)
from llmobs.ops.admin_theme import THEME
from llmobs.ops.logs import django_logging

PLACE = Place.from_env()
SECRETS = PLACE.secrets()


def _connections() -> Connections:
    """Where the stores are. Without a platform commands that need none still work; others fail to connect."""
    try:
        return PLACE.connections()
    except EnvError:
        return Connections("postgresql://llmobs@127.0.0.1:1/llmobs", "redis://127.0.0.1:1/0")


CONNECTIONS = _connections()
BASE_URL = read_str("LLMOBS_BASE_URL").rstrip("/")
if BASE_URL and urlsplit(BASE_URL).scheme not in ("http", "https"):
    raise EnvError(f"LLMOBS_BASE_URL={BASE_URL!r} does not begin with http:// or https://")
IS_HTTPS = BASE_URL.startswith("https://")

SECRET_KEY = SECRETS.secret_key
DEBUG = read_bool("LLMOBS_DEBUG", default=False)
ALLOWED_HOSTS = [
    "localhost",
    "127.0.0.1",
    "[::1]",  # health checks, and a machine of one's own
    *read_list("LLMOBS_ALLOWED_HOSTS"),
    *([urlsplit(BASE_URL).hostname or ""] if BASE_URL else []),
]

INSTALLED_APPS = [
    "unfold",  # before the admin, whose templates it replaces
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "dashboards",  # before allauth, whose pages it draws
    "allauth",
    "allauth.account",
    "csp",
    "django_filters",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "llmobs.tenants",
    "llmobs.pricing",
    "llmobs.providers",
    "llmobs.health",
    "llmobs.spans",
    "llmobs.budgets",
    "llmobs.limits",
    "llmobs.cache",
    "llmobs.rollups",
    "llmobs.prompts",
    "llmobs.guards",
    "llmobs.brake",
    "llmobs.ingest",
    "llmobs.evals",
    "llmobs.alerts",
    "llmobs.reconcile",
    "llmobs.keeping",
    "llmobs.ops",
]

MIDDLEWARE = [
    "llmobs.tenants.request_walls.Walls",  # before all that asks the database
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "llmobs.content_policy.AdminPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "dashboards.store_away.StoreAway",
    "dashboards.reading.Wrote",
]

ROOT_URLCONF = "llmobs.urls"
ASGI_APPLICATION = "llmobs.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


# Stores


def database(url: str, pool_size: int) -> dict[str, Any]:
    """Django's form of a PostgreSQL address; what it has no name for goes to libpq as it is."""
    parts = conninfo_to_dict(url)
    options: dict[str, Any] = {
        k: v for k, v in parts.items() if k not in ("dbname", "user", "password", "host", "port")
    }
    options["connect_timeout"] = int(options.get("connect_timeout", 5))
    if pool_size:
        options["pool"] = {"min_size": 1, "max_size": pool_size, "timeout": 5}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.get("dbname") or "llmobs",
        "USER": parts.get("user") or "",
        "PASSWORD": parts.get("password") or "",
        "HOST": parts.get("host") or "",
        "PORT": str(parts.get("port") or ""),
        "OPTIONS": options,
        "CONN_HEALTH_CHECKS": True,  # PostgreSQL may have restarted since
    }


POOL_SIZE = read_int("LLMOBS_DB_POOL", 0, most=200)
DATABASES = {"default": database(CONNECTIONS.database_url, POOL_SIZE)}
if read_url := read_database_url_from_env():  # dashboards/reading.py
    DATABASES["replica"] = database(read_url, POOL_SIZE)
    DATABASES["replica"]["OPTIONS"]["connect_timeout"] = 2  # the primary is there if it is not
    if POOL_SIZE:
        DATABASES["replica"]["OPTIONS"]["pool"]["timeout"] = 2
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
VALKEY_URL = CONNECTIONS.valkey_url
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": with_db(VALKEY_URL, CACHE_DB),
        "KEY_PREFIX": "web",
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},
    }
}

# Work in the background (llmobs/celery.py). The broker carries wake-ups, the work itself is rows.

CELERY_BROKER_URL = read_str("CELERY_BROKER_URL") or with_db(VALKEY_URL, BROKER_DB).replace(
    "unix://", "redis+socket://"
)
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TIME_LIMIT = 15 * 60  # seconds; a stuck task must not hold a worker for ever
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"

# Our own judges call the gateway like any client.
GATEWAY_URL = read_str("LLMOBS_GATEWAY_URL", f"http://127.0.0.1:{CONNECTIONS.gateway_port}").rstrip("/")
PRIVATE_WEBHOOKS = read_bool("LLMOBS_PRIVATE_WEBHOOKS", default=False)
# Services that alerts may go to besides webhooks and mail, by apprise's schemes.
ALERT_SCHEMES = read_list("LLMOBS_ALERT_SCHEMES") or list(DEFAULT_SCHEMES)
if unknown_schemes := sorted(set(ALERT_SCHEMES) - KNOWN_SCHEMES):
    raise EnvError(f"LLMOBS_ALERT_SCHEMES names {unknown_schemes[0]!r}; use any of {', '.join(sorted(KNOWN_SCHEMES))}")

# Signing in: people are made by an operator, nobody signs up.

AUTH_USER_MODEL = "tenants.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
ACCOUNT_ADAPTER = "llmobs.tenants.accounts.Accounts"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
# Tries per address, and failures per account: a guesser is slowed, a person who mistypes is not locked out for long.
ACCOUNT_RATE_LIMITS = {"login": "30/m/ip", "login_failed": "10/m/ip,5/5m/key", "reset_password": "20/m/ip,5/m/key"}
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "account_login"

# Headers and cookies

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        # Plotly and progress bars set style attributes; scripts stay ours alone.
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
# Unfold's pages run Alpine, which evaluates the expressions in its attributes.
ADMIN_SCRIPT_SOURCES = [SELF, UNSAFE_EVAL]
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_HTTPS
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "llmobs_session", "llmobs_csrf"
CSRF_TRUSTED_ORIGINS = [BASE_URL] if BASE_URL else []
SECURE_HSTS_SECONDS = 365 * 86_400 if IS_HTTPS else 0
if IS_HTTPS:  # a proxy ends TLS in front of us and must set this header on every request
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Static files: named by their content, so that browsers may keep them for ever. `up` collects them.

STATIC_URL = "/static/"
STATIC_ROOT = PLACE.folder / "static"
# Source maps, megabytes that only a debugger asks for, besides what is compressed already.
WHITENOISE_SKIP_COMPRESS_EXTENSIONS = ("map", "jpg", "jpeg", "png", "gif", "webp", "gz", "br", "zip", "woff", "woff2")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# Language and time: a page shows times in the tenant's zone, everything inside is UTC.

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

# REST

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "llmobs.tenants.authentication.KeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["llmobs.tenants.bodies.Json"],
    "EXCEPTION_HANDLER": "llmobs.tenants.problem.handle",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "COERCE_DECIMAL_TO_STRING": True,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "llmobs",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}
UNFOLD = THEME

# E-mail


def _email(url: str) -> dict[str, Any]:
    if not url:
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise EnvError("LLMOBS_EMAIL_URL is not smtp://user:password@host:port or smtps://…")
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or (465 if parts.scheme == "smtps" else 587),
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": parts.scheme == "smtp" and not _is_loopback(parts.hostname),
        "EMAIL_TIMEOUT": 10,
    }


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


globals().update(_email(read_str("LLMOBS_EMAIL_URL")))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = read_str("LLMOBS_EMAIL_FROM", "llmobs@localhost")

PRICES_KEY = read_str("LLMOBS_PRICES_KEY")

LOGGING = django_logging(read_str("LLMOBS_LOG_LEVEL", "info"))
LOGGING_CONFIG = "llmobs.ops.logs.set_up"

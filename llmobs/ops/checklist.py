"""The launch checklist: what must be set before real traffic (P0), soon after (P1), and in time (P2).

Each item was looked up, not assumed. What this version does not have yet is said so, and fails nobody.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from llmobs.alerts.models import Channel
from llmobs.budgets.models import Budget
from llmobs.evals.models import Judge
from llmobs.ingest import compiled
from llmobs.limits.models import Limit
from llmobs.limits.plans import PLANS
from llmobs.limits.units import REQUEST
from llmobs.ops.room import missing_mb
from llmobs.ops.waiting import SEEN_SECONDS
from llmobs.providers.credentials import CredentialError, open_credential, variable
from llmobs.providers.models import Provider, Route
from llmobs.tenants.models import Key, Tenant, User

UNPRICED_DAYS = 30
VERIFIED_WITHIN = timedelta(days=1)
CONSOLE = "django.core.mail.backends.console.EmailBackend"


class State(StrEnum):
    """What became of an item."""

    SET = "set"
    MISSING = "missing"
    LATER = "not in this version"


@dataclass(frozen=True)
class Item:
    """One line of the list. `how`: what to do about it, or what it is where it is set."""

    priority: str
    state: State
    what: str
    how: str = ""


def _item(priority: str, is_set: bool, what: str, how: str, found: str = "") -> Item:
    return Item(priority, State.SET if is_set else State.MISSING, what, found if is_set else how)


def installation() -> Iterator[Item]:
    """What all tenants share."""
    yield from _providers()
    yield from _routes()
    yield from _processes()
    has_operator = User.objects.filter(is_staff=True, is_active=True).exists()
    yield _item("P0", has_operator, "an operator who can sign in", "`manage.py prepare` makes the first one")
    yield Item("P0", State.SET, "timeouts", "by the key's criticality, or x-llmobs-timeout per call")
    yield Item("P0", State.SET, "errors in the caller's own format", "with x-llmobs-reason")
    yield Item("P0", State.SET, "injection protection", "recorded; a tenant's guards flag or block where they say so")
    once = _names([provider for provider in Provider.objects.filter(is_enabled=True) if not provider.retries])
    yield Item("P0", State.SET, "retries", "before the first byte" + (f"; none at {once}" if once else ""))
    lacking = missing_mb(settings.PLACE)
    yield _item(
        "P1", not lacking, "the journals' disk has the room that they may take",
        f"{lacking} MB are missing: make room, or set LLMOBS_JOURNAL_MB lower (docs/durability.md)",
    )  # fmt: skip
    yield Item("P1", State.SET, "streams are passed on as they come")
    yield Item("P1", State.SET, "structured logs", "one JSON object a line")
    yield Item("P1", State.SET, "response cache", "off unless a tenant, a key or a call says exact")
    backed = [route.name for route in Route.objects.prefetch_related("candidates") if len(_providers_of(route)) > 1]
    yield _item(
        "P1", bool(backed), "a model with a backup at another provider",
        "a route with candidates of two providers (`routes:` in apply)", ", ".join(backed[:5]),
    )  # fmt: skip
    yield _item(
        "P1", settings.IS_HTTPS, "HTTPS for people", "set LLMOBS_BASE_URL=https://… behind a proxy that ends TLS"
    )
    mails = Channel.objects.filter(is_enabled=True, target__startswith="mailto:").exists()
    if mails:
        is_sent = settings.EMAIL_BACKEND != CONSOLE
        yield _item("P0", is_sent, "e-mail leaves this machine", "set LLMOBS_EMAIL_URL: channels use mailto:")
    yield _verified()
    yield Item("P2", State.SET, "dashboards", "/")
    yield _item(
        "P2", compiled.loaded() is not None, "the compiled reader of OTLP",
        "only slower without: `python -m llmobs.ingest.compiled` builds it where a C compiler is",
    )  # fmt: skip
    yield Item("P2", State.LATER, "capacity planning")
    yield Item("P2", State.LATER, "compliance reports")


def of_tenant(tenant: Tenant) -> Iterator[Item]:
    """What one tenant needs."""
    now = timezone.now()
    usable = Key.objects.filter(tenant=tenant, revoked_at__isnull=True).exclude(expires_at__lte=now)
    yield _item("P0", usable.exists(), "a key in use", f"`manage.py createkey --tenant {tenant.slug}`")
    budgets = list(Budget.objects.filter(tenant=tenant, is_active=True))
    blocking = [budget for budget in budgets if budget.action == Budget.Action.BLOCK]
    yield _item(
        "P0", bool(blocking), "a limit that stops calls: USD or tokens", "a budget with action: block",
        _names(blocking),
    )  # fmt: skip
    uncounted = [budget for budget in blocking if budget.counted_at is None]
    if uncounted:
        yield Item(
            "P0",
            State.MISSING,
            f"counted budgets ({_names(uncounted)})",
            "a running writer counts them: `manage.py up`",
        )
    watched = [budget for budget in budgets if budget.thresholds]
    channels = list(Channel.objects.filter(tenant=tenant, is_enabled=True))
    yield _item(
        "P0", bool(watched and channels), "cost alerts",
        "a budget with thresholds" if channels else "an alert channel (`alert_channels:` in apply)",
        f"{_names(watched)} to {_names(channels)}",
    )  # fmt: skip
    limits = Limit.objects.filter(is_active=True).filter(Q(tenant=tenant) | Q(tenant=None)).exclude(per=REQUEST)
    rules = [limit.rule for limit in limits] + [each.unit for each in PLANS[tenant.plan] if each.per != REQUEST]
    yield _item("P1", bool(rules), "rate limits", "`limits:` in apply, of the tenant or for all", "; ".join(rules[:5]))
    unpriced = _unpriced_models(tenant)
    lacking = f"no price for {', '.join(unpriced[:5])}: `models:` in apply"
    yield _item("P1", not unpriced, "a price for every model called", lacking)
    attributed = usable.exclude(feature="").exists()
    yield _item("P1", attributed, "keys that name their feature", "feature: on the key, or x-llmobs-feature per call")
    judges = list(Judge.objects.filter(tenant=tenant, is_enabled=True))
    yield _item("P2", bool(judges), "a judge of quality", "`judges:` in apply", _names(judges))


def is_ready(items: Sequence[Item]) -> bool:
    """No P0 item is missing."""
    return not any(item.priority == "P0" and item.state is State.MISSING for item in items)


def _providers() -> Iterator[Item]:
    providers = list(Provider.objects.filter(is_enabled=True))
    yield _item("P0", bool(providers), "a provider", "`providers:` in apply", _names(providers))
    for provider in providers:
        yield from _credentials(provider)
    careless = [provider for provider in providers if provider.base_url.startswith("https:") and not provider.verify]
    yield _item(
        "P1", not careless, "providers whose certificates are checked",
        f"verify is off for {_names(careless)}: ca_file for a private authority",
    )  # fmt: skip


def _credentials(provider: Provider) -> Iterator[Item]:
    """What cannot be opened here, a line each. One of several that is missing leaves the others to go on with."""
    stored = [str(each["credential"]) for each in provider.credentials] or [provider.credential]
    for credential in stored:
        try:
            open_credential(credential, settings.SECRETS.encryption_keys)
        except CredentialError as error:
            told = f"{error} here; the gateway needs it from its start" if variable(credential) else str(error)
            priority = "P0" if len(stored) == 1 else "P1"
            yield Item(priority, State.MISSING, f"the credential of {provider.name}", told)


def _routes() -> Iterator[Item]:
    """What a file may say of routes that no row can check alone."""
    routes = list(Route.objects.all())
    names = {route.name for route in routes}
    lost = [f"{route.name}: {route.cascade_scorer}" for route in routes if route.cascade_scorer not in names | {""}]
    if lost:
        yield Item("P1", State.MISSING, "routes that score cascades", f"there is no such route ({', '.join(lost[:5])})")
    tasks = [task for route in routes for task in route.tasks]
    twice = sorted({task for task in tasks if tasks.count(task) > 1})
    if twice:
        how = f"{', '.join(twice[:5])}: the route made first answers; take them from the others"
        yield Item("P1", State.MISSING, "one route for each task", how)


def _processes() -> Iterator[Item]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT kind, count(*) FROM heartbeat WHERE seen_at > now() - make_interval(secs => %s) GROUP BY 1",
            [SEEN_SECONDS],
        )
        running = dict(cursor.fetchall())
    for kind in ("gateway", "writer"):
        count = running.get(kind, 0)
        yield _item("P0", bool(count), f"a running {kind}", "`manage.py up`", f"{count} seen")
    if running.get("gateway", 0):
        yield _canary()


def _canary() -> Item:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT canary FROM heartbeat WHERE kind = 'gateway' AND seen_at > now() - make_interval(secs => %s)",
            [SEEN_SECONDS],
        )
        said = [canary for (canary,) in cursor.fetchall()]
    what, refused = "a call under a budget of zero is refused", said.count("refused")
    wrong = sorted({canary for canary in said if canary not in ("", "refused")})  # "": not tried yet, or it recovers
    how = f"{', '.join(wrong)} instead, at one of {len(said)} gateways; its `/readyz` and log say more"
    return _item("P0", not wrong, what, how, f"by {refused} of {len(said)} gateways")


def _verified() -> Item:
    with connection.cursor() as cursor:
        cursor.execute("SELECT finished_at, differences FROM verification ORDER BY finished_at DESC LIMIT 1")
        last = cursor.fetchone()
    what = "sums that were verified today without a difference"
    if last is None or timezone.now() - last[0] > VERIFIED_WITHIN:
        return Item("P1", State.MISSING, what, "`manage.py verify`")
    return _item("P1", last[1] == 0, what, f"{last[1]} differences: `manage.py verify` prints them")


def _unpriced_models(tenant: Tenant) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT provider_name || '/' || model FROM bill WHERE tenant_id = %s AND cost_nanousd IS NULL "
            "AND begin_at > now() - make_interval(days => %s) GROUP BY 1 HAVING sum(requests) > 0 ORDER BY 1",
            [tenant.pk, UNPRICED_DAYS],
        )
        return [row[0] for row in cursor.fetchall()]


def _providers_of(route: Route) -> set[int]:
    return {candidate.provider_id for candidate in route.candidates.all()}


def _names(objects: Sequence[Budget | Channel | Judge | Provider]) -> str:
    return ", ".join(each.name for each in objects[:5])

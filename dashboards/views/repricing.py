"""Re-pricing: what another price would change, and the buttons that change it, or change it back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.views.decorators.http import require_POST

from dashboards.access import ALL
from dashboards.api.repricings import begun, previewed
from dashboards.visit import Visit, page, show
from llmobs.core.money import parse_usd
from llmobs.ingest.models import APPLIED, APPLYING, NEW, PREVIEWED, UNDOING, UNDONE, Repricing
from llmobs.pricing.quotes import RATES
from llmobs.tenants import access
from llmobs.tenants.access import caller_of_person
from llmobs.tenants.audited import is_operator
from llmobs.tenants.models import Tenant

MOST_SHOWN = 50
NO_ZONES: Mapping[str, str] = {}
MOST_ROWS = 30  # of each table of a preview; all are in the REST API
WORDS = {
    NEW: ("unknown", "being previewed"), PREVIEWED: ("unknown", "previewed, nothing is changed"),
    APPLYING: ("warn", "being applied"), APPLIED: ("ok", "applied"), UNDOING: ("warn", "being undone"),
    UNDONE: ("ok", "undone"),
}  # fmt: skip
RATE_WORDS = {
    "input_usd_per_mtok": "Input", "output_usd_per_mtok": "Output", "cache_read_usd_per_mtok": "Cache read",
    "cache_write_5m_usd_per_mtok": "Cache write, 5 min", "cache_write_1h_usd_per_mtok": "Cache write, 1 h",
}  # fmt: skip
RATE_FIELDS = [(name, RATE_WORDS[name]) for name in RATES if name in RATE_WORDS]


@dataclass(frozen=True)
class Row:
    """A group of a preview, in nano-USD."""

    words: list[str]
    bills: int
    old: int
    new: int
    gained: int
    passes: bool = False
    limit: int | None = None

    @property
    def difference(self) -> int:
        return self.new - self.old


@page("repricing")
def repricing(visit: Visit) -> HttpResponse:
    """All re-pricings of the tenant, the selected one's preview, and the form for another."""
    seen = access.seen(Repricing.objects.select_related("tenant"), caller_of_person(visit.request.user))
    if visit.seen.chosen is not None:
        seen = seen.filter(tenant=visit.seen.chosen) | seen.filter(tenant__isnull=True)
    found = list(seen.order_by("-pk")[:MOST_SHOWN])
    asked = visit.request.GET.get("id", "")
    selected = next((each for each in found if str(each.pk) == asked), found[0] if found else None)
    return show(
        visit,
        "dashboards/repricing.html",
        heading="Re-pricing",
        no_window=True,
        rows=[(each, *WORDS[each.state]) for each in found],
        selected=selected,
        told=WORDS[selected.state] if selected else None,
        tables=_tables(selected.preview) if selected and selected.preview else [],
        total=_row([], selected.preview["total"]) if selected and selected.preview else None,
        may_change=visit.seen.is_operator,
        rates=RATE_FIELDS,
        given={name: visit.request.GET.get(name, "") for name in ("provider", "model", "since", "until")},
    )


def _tables(told: dict[str, Any]) -> list[tuple[str, list[str], list[Row]]]:
    """(title, columns, rows) of what a preview tells."""
    kinds = (
        ("By tenant", "by_tenant", ["tenant"]),
        ("By day", "by_day", ["day", "tenant"]),
        ("By model", "by_model", ["provider", "model"]),
        ("By budget", "by_budget", ["budget", "value", "tenant", "window_start"]),
    )
    found = []
    zones = dict(Tenant.objects.values_list("slug", "time_zone"))
    for title, name, columns in kinds:
        told_rows = told[name][:MOST_ROWS]
        rows = [_row([str(each[column]) for column in columns], each, zones) for each in told_rows]
        found.append((title, [column.replace("_start", "").capitalize() for column in columns], rows))
    return found


def _row(words: list[str], told: dict[str, Any], zones: Mapping[str, str] = NO_ZONES) -> Row:
    if "limit_usd" in told:
        spent, difference = (parse_usd(told[name]) for name in ("spent_usd", "difference_usd"))
        words = [*words[:-1], _begins(told["window_start"], zones.get(told["tenant"], "UTC"))]
        return Row(words, 0, spent, spent + difference, 0, told["passes_limit"], parse_usd(told["limit_usd"]))
    old, new = (parse_usd(told[name]) for name in ("old_usd", "new_usd"))
    return Row(words, told["bills"], old, new, told["unpriced_before"])


def _begins(window_start: str, zone: str) -> str:
    """A window's start, as the tenant's clock says it."""
    at = datetime.fromisoformat(window_start)
    return "lifetime" if at.timestamp() <= 0 else f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


# ---------------------------------------------------------------- buttons


@login_required
@require_POST
def ask(request: HttpRequest) -> HttpResponse:
    """The form: preview what computing anew would change."""
    if not is_operator(request):
        raise Http404
    actor = caller_of_person(request.user).actor
    try:
        made = previewed(_asked(request.POST, actor))
    except ValidationError as error:
        messages.error(request, f"Not previewed. {' '.join(error.messages)}")
        return HttpResponseRedirect(reverse("dashboards:repricing"))
    return _to(made)


@login_required
@require_POST
def apply(request: HttpRequest, pk: int) -> HttpResponse:
    """Apply one that was previewed."""
    return _press(request, pk, Repricing.begin)


@login_required
@require_POST
def undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Undo one that was applied."""
    return _press(request, pk, Repricing.begin_undoing)


def _press(request: HttpRequest, pk: int, how: Callable[[Repricing, str], None]) -> HttpResponse:
    if not is_operator(request):
        raise Http404
    caller = caller_of_person(request.user)
    found = access.find(Repricing.objects.all(), caller, pk=pk)
    try:
        begun(found, how, caller.actor)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return _to(found)


def _to(repricing: Repricing) -> HttpResponse:
    return HttpResponseRedirect(f"{reverse('dashboards:repricing')}?{urlencode({'id': repricing.pk})}")


def _asked(given: Any, actor: str) -> Repricing:
    """What the form says. Raises ValidationError."""
    given = {name: text.replace("\x00", "") for name, text in given.items()}
    slug = given.get("of", "")
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is None and slug not in ("", ALL):
        raise ValidationError(f"There is no tenant {slug[:60]!r}.")
    since, until = _moment(given.get("since", "")), _moment(given.get("until", "")) or timezone.now()
    if since is None:
        raise ValidationError("From when on?")
    provider, model = given.get("provider", "").strip(), given.get("model", "").strip()
    rates = {name: given[name].strip().lstrip("$") for name in RATES if given.get(name, "").strip()}
    price: dict[str, Any] | None = None
    if rates:
        price = {"provider": provider, "model": model, "effective_from": since.isoformat(), **rates}
        for name, text in rates.items():
            _rate(name, text)
    return Repricing(
        tenant=tenant,
        providers=[provider] if provider and not price else [],
        model_names=[model] if model else [],
        since=since,
        until=min(until, timezone.now()),
        price=price,
        created_by=actor,
        state=NEW,
    )


def _rate(name: str, text: str) -> None:
    if not text.replace(".", "", 1).isdecimal() or Decimal(text) < 0:
        raise ValidationError(f"{RATE_WORDS[name]}: {text[:40]!r} is no amount of USD per million tokens.")


def _moment(text: str) -> datetime | None:
    """A date or a time of the form, in UTC."""
    try:
        at = parse_datetime(text) or (datetime.combine(day, datetime.min.time()) if (day := parse_date(text)) else None)
    except ValueError:
        at = None
    if text and at is None:
        raise ValidationError(f"{text[:40]!r} is no date.")
    return at if at is None or timezone.is_aware(at) else timezone.make_aware(at)

"""What a REST request asks figures about: tenants it may see, a window, filters; wrong values are named."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from dashboards import window as windows
from dashboards.api.rendering import FiguresRenderer
from dashboards.queries.scope import Filters, Scope
from dashboards.reading import answered_as_of, is_replicas_fault, turn_to_primary
from dashboards.window import Window
from llmobs.core.money import NANOUSD_PER_USD, MoneyError, parse_usd
from llmobs.core.semconv import FAILED, STATUSES
from llmobs.tenants import access
from llmobs.tenants.authentication import AUTHENTICATION, caller_of
from llmobs.tenants.models import Key

LONGEST_FILTER = 400
DEFAULT_WINDOW = "30d"
AS_OF_HEADER = "x-llmobs-as-of"
RENAMED = {"q": "search", "user_id": "user", "session_id": "session"}


class Figures(APIView):
    """A view that answers with figures of the caller's tenants."""

    authentication_classes = AUTHENTICATION
    permission_classes = (IsAuthenticated,)
    renderer_classes: Sequence[type[BaseRenderer]] = (FiguresRenderer,)

    def handle_exception(self, error: Exception) -> Response:
        """Where the replica broke off, the same once more from the primary."""
        if self.request.method == "GET" and is_replicas_fault(self.request, error):
            turn_to_primary(self.request, error)
            try:
                return self.get(self.request, *self.args, **self.kwargs)  # each has one
            except Exception as again:  # DRF's own edge of a request: it tells what became of it
                error = again
        return super().handle_exception(error)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Figures of a replica that lags say up to when they are whole."""
        if (as_of := answered_as_of(request)) is not None:
            response[AS_OF_HEADER] = _iso(as_of)
        return super().finalize_response(request, response, *args, **kwargs)

    def scope(self) -> Scope:
        """Tenants, window and filters of this request."""
        given = self.request.query_params
        caller = caller_of(self.request)
        return Scope(access.tenant_ids(caller, given.get("tenant", "")), self.window(timezone.now()), self.filters())

    def window(self, now: datetime) -> Window:
        found = windows.read(self.request.query_params, now, ZoneInfo("UTC"), DEFAULT_WINDOW)
        if found.problem:
            raise ValidationError(found.problem)
        return found

    def filters(self) -> Filters:
        known = {field.name for field in fields(Filters)}
        values: dict[str, Any] = {}
        for name, value in self.request.query_params.items():
            name = RENAMED.get(name, name)
            if name in known and value:
                if len(value) > LONGEST_FILTER:
                    raise ValidationError({name: f"At most {LONGEST_FILTER} characters."})
                values[name] = value
        if values.get("status") == "error":  # OpenTelemetry's word for all of them
            values["status"] = FAILED
        if (status := values.get("status")) and status not in STATUSES:
            raise ValidationError({"status": f"One of {', '.join(STATUSES)}."})
        if "key" in values:
            values["key"] = self._key_id(values["key"])
        return Filters(**values)

    def _key_id(self, named: str) -> int:
        """A key by its id or name; one that the caller does not see matches no call."""
        keys = access.seen(Key.objects.all(), caller_of(self.request), self.request.query_params.get("tenant", ""))
        found = keys.filter(pk=int(named)) if named.isdecimal() and len(named) < 19 else keys.filter(name=named)
        return found.values_list("pk", flat=True).first() or -1

    def number(self, name: str, default: int | None = None, most: int = 2**53) -> int | None:
        """A parameter as a whole number from 1 (0 for a bound) up."""
        text = self.request.query_params.get(name, "")
        if not text:
            return default
        if not text.isdecimal() or len(text) > 16 or int(text) > most:
            raise ValidationError({name: f"A whole number up to {most}."})
        return int(text)

    def usd(self, name: str) -> int | None:
        """A parameter in USD as nano-USD."""
        text = self.request.query_params.get(name, "")
        if not text:
            return None
        try:
            amount = parse_usd(text)
        except MoneyError as error:
            raise ValidationError({name: str(error)}) from None
        if not 0 <= amount < 2**63 // NANOUSD_PER_USD * NANOUSD_PER_USD:
            raise ValidationError({name: "An amount of USD from 0 up."})
        return amount


def next_page(request: Request, window: Window, cursor: str | None) -> str | None:
    """The address of the next page: the same question, its window fixed, so that pages do not drift."""
    if not cursor:
        return None
    query = request.query_params.copy()
    query.pop("last", None)
    query["from"], query["to"] = _iso(window.start), _iso(window.end)
    query["cursor"] = cursor
    return str(request.build_absolute_uri(f"{request.path}?{query.urlencode()}"))


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")

"""`usage/`: what was billed, for chargeback: JSON by pages, or the whole as JSON, CSV or Parquet, streamed.

1. The question is read: dimensions, tenants, window, filters. What is wrong is named before anything is sent.
2. A page of JSON is one statement. The whole comes through a server-side cursor, some rows at a time, so that millions
   of rows take no more memory than a few thousand; what a client does not take is not read.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotAcceptable, ValidationError
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from dashboards import window as windows
from dashboards.api.asked import DEFAULT_WINDOW, Figures, next_page
from dashboards.api.traces import slugs_of
from dashboards.api.usage_formats import Naming, csv_parts, json_parts, parquet_parts, row_of
from dashboards.queries.costs import key_names
from dashboards.queries.scope import Scope
from dashboards.queries.usage import DEFAULT_GROUPS, GROUPS, TIMES, UsageRow, read, statement, usage
from dashboards.reading import figures, source_of
from dashboards.window import Window
from llmobs.tenants import access, seeing
from llmobs.tenants.authentication import caller_of
from llmobs.tenants.models import Key, Tenant

PAGE, MOST_PAGE = 500, 5_000
ROWS_AT_ONCE = 2_000  # through the server-side cursor
STALLED_SECONDS = 60
PARAMETERS = (
    "tenant", "from", "to", "last", "feature", "user", "session", "key", "service", "environment", "model", "provider",
    "cursor",
)  # fmt: skip


class UsageShown(serializers.Serializer):
    """What one combination was billed; of the dimensions those that were asked for (by default these, with `day`)."""

    tenant = serializers.CharField()
    feature = serializers.CharField(allow_null=True)
    user = serializers.CharField(allow_null=True)
    service = serializers.CharField(allow_null=True)
    environment = serializers.CharField(allow_null=True)
    model = serializers.CharField(allow_null=True)
    provider = serializers.CharField(allow_null=True)
    day = serializers.DateField(help_text="in the tenant's time zone")
    requests = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cache_read_input_tokens = serializers.IntegerField()
    cache_creation_input_tokens = serializers.IntegerField()
    reasoning_output_tokens = serializers.IntegerField()
    cost_usd = serializers.CharField(allow_null=True)
    unpriced_requests = serializers.IntegerField()
    units = serializers.DictField(child=serializers.IntegerField(), help_text="what is no text: sound, searches …")


class UsagePageShown(serializers.Serializer):
    results = UsageShown(many=True)
    next = serializers.URLField(allow_null=True)


class CsvRenderer(BaseRenderer):
    """Chosen by `Accept` or `?format=`; the view streams."""

    media_type, format = "text/csv", "csv"


class ParquetRenderer(BaseRenderer):
    """Chosen by `Accept` or `?format=`; the view streams."""

    media_type, format = "application/vnd.apache.parquet", "parquet"


class UsageRows(Figures):
    """What was billed, by `group_by`; the last 30 days unless asked.

    Reversals and adjustments are in the sums: they are what was spent. Days, hours and months are of each tenant's own
    time zone. JSON comes by pages, with `whole=true` at once; CSV and Parquet hold the whole answer.
    """

    renderer_classes = (JSONRenderer, CsvRenderer, ParquetRenderer)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        try:
            return super().perform_content_negotiation(request, force)
        except NotAcceptable:
            names = "application/json, text/csv or application/vnd.apache.parquet"
            raise NotAcceptable(f"Usage comes as {names}.") from None

    @extend_schema(
        parameters=[
            OpenApiParameter("group_by", OpenApiTypes.STR, description=f"any of {', '.join(GROUPS)}, comma-separated"),
            OpenApiParameter("format", OpenApiTypes.STR, enum=["json", "csv", "parquet"]),
            OpenApiParameter("whole", OpenApiTypes.BOOL, description="JSON at once and not by pages"),
            OpenApiParameter("limit", OpenApiTypes.INT),
            *(OpenApiParameter(name, OpenApiTypes.STR) for name in PARAMETERS),
        ],
        responses={
            (200, "application/json"): UsagePageShown,
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/vnd.apache.parquet"): OpenApiTypes.BINARY,
        },
    )
    def get(self, request: Request) -> Any:
        scope, groups = self.scope(), self._groups()
        kind = request.accepted_renderer.format
        if kind == "json" and request.query_params.get("whole") != "true":
            return self._page(request, scope, groups)
        rows, naming = whole(scope, groups, source_of(request).alias), naming_of(scope, groups)
        if kind == "json":
            return Streamed(json_parts(rows, groups, naming), content_type="application/json")
        parts = csv_parts(rows, groups, naming) if kind == "csv" else parquet_parts(rows, groups, naming)
        name = f'attachment; filename="usage.{kind}"'
        return Streamed(parts, content_type=request.accepted_renderer.media_type, headers={"Content-Disposition": name})

    def window(self, now: Any) -> Window:
        """Times without an offset are of the tenant's zone, where one tenant alone is asked about."""
        found = windows.read(self.request.query_params, now, self._zone(), DEFAULT_WINDOW)
        if found.problem:
            raise ValidationError(found.problem)
        return found

    def _zone(self) -> ZoneInfo:
        tenant_ids = access.tenant_ids(caller_of(self.request), self.request.query_params.get("tenant", ""))
        return zone_of(tenant_ids)

    def _groups(self) -> tuple[str, ...]:
        text = self.request.query_params.get("group_by", "")
        given = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        for name in given:
            if name not in GROUPS:
                raise ValidationError({"group_by": f"{name[:60]!r} is none of {', '.join(GROUPS)}."})
        if len(TIMES.keys() & set(given)) > 1:
            raise ValidationError({"group_by": f"One of {', '.join(TIMES)}, not several."})
        return given or DEFAULT_GROUPS

    def _page(self, request: Request, scope: Scope, groups: tuple[str, ...]) -> Response:
        limit = max(self.number("limit", PAGE, MOST_PAGE) or PAGE, 1)
        with figures(self.request) as cursor:
            try:
                found, mark = usage(cursor, scope, limit, request.query_params.get("cursor", ""), groups)
            except ValueError as error:
                raise ValidationError({"cursor": str(error)}) from None
        naming = naming_of(scope, groups)
        rows = [row_of(row, groups, naming) for row in found]
        return Response({"results": rows, "next": next_page(request, scope.window, mark)})


class Streamed(StreamingHttpResponse):
    """A response whose parts are made one at a time, also under ASGI, where Django would gather them first."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts: Iterator[bytes] = iter(self)
        following = sync_to_async(partial(next, parts, None), thread_sensitive=True)
        while (part := await following()) is not None:
            yield part


def whole(scope: Scope, groups: tuple[str, ...], alias: str) -> Iterator[UsageRow]:
    """All rows through a server-side cursor, which needs a transaction as long as it is read.

    A client that takes none of it for STALLED_SECONDS has its connection to PostgreSQL ended: there are not many.
    """
    # Read when the request is over, and nothing is said any more: the transaction is told what was.
    return _whole(scope, groups, alias, seeing.said())


def _whole(scope: Scope, groups: tuple[str, ...], alias: str, said: str | None) -> Iterator[UsageRow]:
    query, parameters = statement(scope, groups)
    store = connections[alias]
    with transaction.atomic(using=alias), store.cursor() as plain, store.chunked_cursor() as cursor:
        with seeing.seeing(said):
            plain.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, true)", [f"{STALLED_SECONDS}s"])
            cursor.execute(query, parameters)
        while found := cursor.fetchmany(ROWS_AT_ONCE):
            for row in found:
                yield read(row, len(groups))


def naming_of(scope: Scope, groups: tuple[str, ...]) -> Naming:
    """What ids are called: tenants by slug, keys by name."""
    keys: Mapping[int, str] = {}
    if "key" in groups:
        ids = Key.objects.filter(tenant_id__in=scope.tenant_ids).values_list("pk", flat=True)
        with connection.cursor() as cursor:
            keys = key_names(cursor, list(ids))
    return Naming(slugs_of(scope.tenant_ids) if "tenant" in groups else {}, keys, zone_of(scope.tenant_ids))


def zone_of(tenant_ids: tuple[int, ...]) -> ZoneInfo:
    """The zone of a single tenant, UTC of several."""
    names = Tenant.objects.filter(pk__in=tenant_ids).values_list("time_zone", flat=True).distinct()[:2]
    return ZoneInfo(names[0]) if len(names) == 1 else ZoneInfo("UTC")

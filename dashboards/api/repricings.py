"""Re-pricings over REST: `POST` previews, `apply/` and `undo/` begin, workers do it; and what has no price yet."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from dashboards.api.asked import Figures
from dashboards.queries.unpriced import MOST_ROWS, unpriced
from dashboards.reading import figures
from llmobs.ingest.models import NEW, STATES, Repricing
from llmobs.ingest.tasks import is_small, look, wake
from llmobs.tenants.models import Tenant
from llmobs.tenants.resource import Listed, Shown, TenantField


@extend_schema_field({"type": "object", "additionalProperties": True, "nullable": True})
class AnyObject(serializers.JSONField):
    """What the schema does not spell out."""


class RepricingShown(Shown):
    """`preview` is what was found when it was asked: sums, by tenant, day, model and budget."""

    tenant = TenantField(allow_null=True, required=False, help_text="its slug; null: all tenants")
    providers = serializers.ListField(child=serializers.CharField(), required=False, help_text="empty: all")
    models = serializers.ListField(
        child=serializers.CharField(), required=False, source="model_names", help_text="empty: all"
    )
    since = serializers.DateTimeField(required=False, help_text="bills of calls begun from then on")
    until = serializers.DateTimeField(required=False, help_text="and before then; default: now")
    price = AnyObject(required=False, allow_null=True, help_text="a price to set with it, as models/ takes it")
    preview = AnyObject(read_only=True)
    state = serializers.ChoiceField(choices=STATES, read_only=True)

    class Meta:
        model = Repricing
        fields = (
            "id", "tenant", "providers", "models", "since", "until", "price", "note", "state", "preview", "error",
            "created_by", "created_at", "applied_at", "undone_at",
        )  # fmt: skip
        read_only_fields = ("error", "created_by", "created_at", "applied_at", "undone_at")


class RepricingResource(mixins.CreateModelMixin, mixins.RetrieveModelMixin, Listed):
    """Costs computed anew, as adjustments beside the bills. Operators begin them, tenants see their own."""

    rows = Repricing.objects.select_related("tenant")
    serializer_class = RepricingShown
    lookup_value_regex = "[^/]+"

    def perform_create(self, serializer: Any) -> None:
        self.check_operator()
        given = serializer.validated_data
        price = given.get("price")
        since = given.get("since") or _since_of(price)
        if since is None:
            raise ValidationError({"since": "From when on?"})
        serializer.instance = previewed(
            Repricing(
                **{**given, "since": since, "until": min(given.get("until") or timezone.now(), timezone.now())},
                created_by=self.caller.actor,
                state=NEW,
            )
        )

    @extend_schema(request=None, responses=RepricingShown)
    @action(detail=True, methods=["post"])
    def apply(self, request: Request, pk: str = "") -> Response:
        """Begin; `state` tells when it is applied. Its price, if it has one, holds at once for calls to come."""
        return self._begin(Repricing.begin)

    @extend_schema(request=None, responses=RepricingShown)
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, pk: str = "") -> Response:
        """Begin to take it back, to the very same totals."""
        return self._begin(Repricing.begin_undoing)

    def check_operator(self) -> None:
        """Prices are the operators' to say, and so is what they change."""
        if not self.caller.is_operator:
            self.permission_denied(self.request, "Operators alone change prices; a tenant reads what they changed.")

    def _begin(self, how: Any) -> Response:
        repricing = self.get_object()
        self.check_operator()
        begun(repricing, how, self.caller.actor)
        return Response(self.get_serializer(repricing).data, status.HTTP_202_ACCEPTED)


def previewed(repricing: Repricing) -> Repricing:
    """Keep it, with its preview if that is quickly read; else a worker reads it. Raises ValidationError."""
    repricing.full_clean()
    repricing.save()
    if is_small(repricing):
        look(repricing)
    else:
        wake()
    return repricing


def begun(repricing: Repricing, how: Any, actor: str) -> None:
    """Begin to apply or undo it, and wake a worker. Raises Django's ValidationError."""
    with transaction.atomic():
        how(repricing, actor)
    wake()


def _since_of(price: Any) -> datetime | None:
    given = price.get("effective_from") if isinstance(price, dict) else None
    try:
        found: datetime | None = serializers.DateTimeField().to_internal_value(given) if given else None
    except serializers.ValidationError:
        return None
    return found


# ---------------------------------------------------------------- what has no price


class UnpricedShown(serializers.Serializer):
    """Requests of one model whose cost nobody could tell; it is not guessed."""

    tenant = serializers.CharField()
    provider = serializers.CharField()
    model = serializers.CharField()
    requests = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    first_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()
    users = serializers.ListField(child=serializers.CharField())
    features = serializers.ListField(child=serializers.CharField())


class UnpricedPage(serializers.Serializer):
    results = UnpricedShown(many=True)
    next = serializers.CharField(allow_null=True)


class UnpricedRows(Figures):
    """Usage without a price, by tenant, provider and model, most requests first: at most a few hundred rows."""

    @extend_schema(responses=UnpricedPage)
    def get(self, request: Request) -> Response:
        scope = self.scope()
        with figures(self.request) as cursor:
            found = unpriced(cursor, scope.tenant_ids, scope.window.start, scope.window.end, MOST_ROWS)
        slugs = dict(Tenant.objects.filter(pk__in=scope.tenant_ids).values_list("pk", "slug"))
        rows = [
            {**{name: getattr(row, name) for name in UnpricedShown().fields if name != "tenant"},
             "tenant": slugs.get(row.tenant_id, "")}
            for row in found
        ]  # fmt: skip
        return Response({"results": rows, "next": None})

"""Channels, rules, alerts and deliveries over REST. An address may hold a secret: its host alone comes out again."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from llmobs.alerts import changing
from llmobs.alerts.kinds import RULES
from llmobs.alerts.models import Alert, AlertRule, Channel, Delivery
from llmobs.tenants import access
from llmobs.tenants.authentication import caller_of
from llmobs.tenants.problem import Conflict
from llmobs.tenants.resource import CREATED, Listed, Resource, Shown, TenantField


class ChannelShown(Shown):
    tenant = TenantField(allow_null=True, required=False, help_text="its slug; null: the operators'")
    url = serializers.CharField(
        write_only=True, max_length=2000, help_text="https://…, mailto:… or a service that apprise knows, slack://…"
    )
    target = serializers.CharField(read_only=True)

    class Meta:
        model = Channel
        fields = (
            "id", "tenant", "name", "url", "target", "kinds", "severities", "tenants", "is_enabled", "previous_until",
            "created_at",
        )  # fmt: skip
        read_only_fields = ("previous_until", "created_at")


class ChannelWithSecret(ChannelShown):
    """What creation and rotation answer: the signing secret of a webhook, this once."""

    signing_secret = serializers.CharField(read_only=True, allow_null=True)

    class Meta(ChannelShown.Meta):
        fields: tuple[str, ...] = (*ChannelShown.Meta.fields, "signing_secret")  # type: ignore[assignment]


class TestOutcome(serializers.Serializer):
    is_taken = serializers.BooleanField()
    error = serializers.CharField(allow_blank=True)


class ChannelResource(Resource):
    """Where alerts of a tenant go. A webhook's signing secret is shown at creation and rotation alone."""

    rows = Channel.objects.select_related("tenant")
    serializer_class = ChannelShown

    @extend_schema(responses={201: ChannelWithSecret})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        self.perform_create(serializer)
        secret = serializer.instance.open_secret()
        return Response({**serializer.data, "signing_secret": secret or None}, status=CREATED)

    @extend_schema(request=None, responses=ChannelWithSecret)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str = "") -> Response:
        """Give a webhook a new signing secret, shown in the answer alone; the old one signs too for a day."""
        channel = self.get_object()
        self.check_change(channel.tenant_id)
        if not channel.is_signed:
            raise Conflict("Webhooks alone are signed.")
        secret = changing.rotate(channel, self.caller.actor)
        return Response({**self.get_serializer(channel).data, "signing_secret": secret})

    @extend_schema(request=None, responses=TestOutcome)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str = "") -> Response:
        """Send a test now, and say what became of it."""
        channel = self.get_object()
        self.check_change(channel.tenant_id)
        try:
            error = changing.test(channel, self.caller.actor)
        except changing.TooManyTests as refused:
            raise Throttled(detail=str(refused)) from None
        return Response({"is_taken": not error, "error": error})


class ChannelNames(serializers.SlugRelatedField):
    """Channels of the rule's tenant, by name."""

    def __init__(self, **options: Any) -> None:
        super().__init__(slug_field="name", queryset=Channel.objects.all(), **options)

    def to_internal_value(self, data: Any) -> Any:
        return str(data)  # of which tenant is known once the whole is read: `RuleShown.validate`


class RuleShown(Shown):
    tenant = TenantField(allow_null=True, required=False, help_text="its slug; null: every tenant, each for itself")
    kind = serializers.ChoiceField(choices=list(RULES))
    channels = ChannelNames(many=True, required=False, help_text="names; none: all of the tenant's channels")

    class Meta:
        model = AlertRule
        fields = (
            "id", "tenant", "name", "kind", "filters", "group_by", "threshold", "window_minutes", "minimum_count",
            "severity", "quiet_minutes", "remind_hours", "channels", "is_enabled", "created_at",
        )  # fmt: skip
        read_only_fields = ("created_at",)

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        if "channels" in given:
            tenant = given.get("tenant", self.instance.tenant if self.instance else None)
            if not caller_of(self.context["request"]).may_change(tenant.pk if tenant is not None else None):
                return given  # refused right after this, and without a word on which names there are
            found = {each.name: each for each in Channel.objects.filter(tenant=tenant, name__in=given["channels"])}
            if unknown := [name for name in given["channels"] if name not in found]:
                raise serializers.ValidationError({"channels": f"there is no channel {unknown[0]!r}"})
            given["channels"] = list(found.values())
        return given

    def create(self, validated_data: dict[str, Any]) -> Any:
        channels = validated_data.pop("channels", [])
        with transaction.atomic():
            rule = super().create(validated_data)
            rule.channels.set(channels)
        return rule

    def update(self, instance: Any, validated_data: dict[str, Any]) -> Any:
        channels = validated_data.pop("channels", None)
        with transaction.atomic():
            rule = super().update(instance, validated_data)
            if channels is not None:
                rule.channels.set(channels)
        return rule


class RuleResource(Resource):
    """What is watched besides budgets' thresholds: a figure of a window against a threshold."""

    rows = AlertRule.objects.select_related("tenant").prefetch_related("channels")
    serializer_class = RuleShown


class DeliveryShown(serializers.ModelSerializer):
    channel = serializers.SlugRelatedField(slug_field="name", read_only=True)
    alert = serializers.PrimaryKeyRelatedField(read_only=True)
    tenant = serializers.SlugRelatedField(slug_field="slug", read_only=True, source="alert.tenant")

    class Meta:
        model = Delivery
        fields = (
            "id", "tenant", "alert", "channel", "event", "state", "attempts", "next_at", "last_error", "created_at",
            "sent_at",
        )  # fmt: skip


class AlertShown(serializers.ModelSerializer):
    tenant = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    rule = serializers.StringRelatedField()
    opened_at = serializers.DateTimeField(source="at", read_only=True)

    class Meta:
        model = Alert
        fields = (
            "id", "tenant", "kind", "severity", "title", "body", "link", "state", "rule", "opened_at", "last_at",
            "acknowledged_at", "acknowledged_by", "resolved_at", "resolved_by",
        )  # fmt: skip


FILTERS = ("state", "kind", "severity")


class AlertList(mixins.RetrieveModelMixin, Listed):
    """What was alerted, newest first; `?state=`, `?kind=`, `?severity=`."""

    rows = Alert.objects.select_related("tenant", "rule__tenant")
    serializer_class = AlertShown
    time_field = "at"
    lookup_value_regex = "[^/]+"

    def get_queryset(self) -> QuerySet[Any]:
        given = {name: self.request.query_params[name] for name in FILTERS if name in self.request.query_params}
        return super().get_queryset().filter(**given)

    @extend_schema(parameters=[OpenApiParameter(name, str) for name in FILTERS])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=None, responses=AlertShown)
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, pk: str = "") -> Response:
        """Somebody has seen it: it is not told of again while it is open."""
        return self._changed(changing.acknowledge)

    @extend_schema(request=None, responses=AlertShown)
    @action(detail=True, methods=["post"])
    def resolve(self, request: Request, pk: str = "") -> Response:
        """It is over; the channels that were told are told so."""
        return self._changed(changing.resolve)

    def _changed(self, change: Any) -> Response:
        alert = self.get_object()
        if not self.caller.may_change(alert.tenant_id):
            raise PermissionDenied("A tenant's key reads; an operator, or an admin of the tenant, may change this.")
        change(alert, self.caller.actor)
        return Response(self.get_serializer(alert).data)


class DeliveryList(mixins.RetrieveModelMixin, Listed):
    """Messages on their way to channels, newest first; `?state=`, `?alert=`."""

    rows = Delivery.objects.select_related("alert__tenant", "channel")
    serializer_class = DeliveryShown
    lookup_value_regex = "[^/]+"

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return self.rows.none()
        given = self.request.query_params
        rows = Delivery.objects.filter(alert__in=access.seen(Alert.objects.all(), self.caller, self.slug))
        rows = rows.select_related("alert__tenant", "channel")
        if not self.caller.is_operator:  # an operators' channel that heard of it too is none of the tenant's business
            rows = rows.filter(channel__tenant__in=self.caller.sees or ())
        if "state" in given:
            rows = rows.filter(state=given["state"])
        if "alert" in given:
            rows = rows.filter(alert_id=given["alert"]) if given["alert"].isdecimal() else rows.none()
        return self.in_window(rows)

    def get_object(self) -> Delivery:
        number = str(self.kwargs["pk"])
        found = self.get_queryset().filter(pk=number).first() if number.isdecimal() and len(number) < 19 else None
        if found is None:
            raise Http404("There is no such delivery.")
        return found  # type: ignore[no-any-return]

    @extend_schema(parameters=[OpenApiParameter("state", str), OpenApiParameter("alert", int)])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=None, responses=DeliveryShown)
    @action(detail=True, methods=["post"], url_path="try-again")
    def try_again(self, request: Request, pk: str = "") -> Response:
        """Have one that was given up tried anew."""
        delivery = self.get_object()
        if not self.caller.may_change(delivery.alert.tenant_id):
            raise PermissionDenied("A tenant's key reads; an operator, or an admin of the tenant, may change this.")
        changing.try_again(delivery, self.caller.actor)
        return Response(self.get_serializer(delivery).data)


@require_POST
@login_required
def press(request: HttpRequest, what: str, pk: int, verb: str) -> HttpResponse:
    """A button of the alerts' page: does what it says, audited, and goes back there."""
    if (what, verb) not in PRESSED:
        raise Http404("There is no such button.")
    caller = access.caller_of_person(request.user)
    found = _pressed(caller, what, pk)
    tenant_id = found.alert.tenant_id if isinstance(found, Delivery) else found.tenant_id
    if not caller.may_change(tenant_id):
        raise Http404("There is no such thing that you may change.")
    try:
        outcome = PRESSED[what, verb](found, caller.actor)
    except changing.TooManyTests as refused:
        outcome = str(refused)
    if verb == "test":
        told = f"“{found.name}” took the test." if not outcome else f"“{found.name}” did not take it: {outcome}."
        request.session["alerts.test"] = [bool(outcome), told]
    back = request.POST.get("back", "/alerts/")
    is_ours = url_has_allowed_host_and_scheme(
        back, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return HttpResponseRedirect(back if is_ours else "/alerts/")


PRESSED: dict[tuple[str, str], Any] = {
    ("alert", "acknowledge"): changing.acknowledge,
    ("alert", "resolve"): changing.resolve,
    ("delivery", "try-again"): changing.try_again,
    ("channel", "test"): changing.test,
}


def _pressed(caller: access.Caller, what: str, pk: int) -> Any:
    if what == "delivery":
        delivery = Delivery.objects.select_related("alert__tenant", "channel").filter(pk=pk).first()
        access.find(Channel.objects.all(), caller, pk=delivery.channel_id if delivery else 0)
        access.find(Alert.objects.all(), caller, pk=delivery.alert_id if delivery else 0)
        return delivery
    rows: QuerySet[Any] = Alert.objects.all() if what == "alert" else Channel.objects.all()
    return access.find(rows, caller, pk=pk)

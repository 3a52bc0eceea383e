"""Alert channels over REST. An address may hold a secret: it goes in, and its host alone comes out."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from llmobs.alerts import changing
from llmobs.alerts.models import Channel
from llmobs.tenants.problem import Conflict
from llmobs.tenants.resource import CREATED, Resource, Shown, TenantField


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
        error = changing.test(channel, self.caller.actor)
        return Response({"is_taken": not error, "error": error})

"""Alert channels over REST. A webhook's address may hold a secret: it goes in, and its host alone comes out."""

from rest_framework import serializers

from llmobs.alerts.models import Channel
from llmobs.tenants.resource import Resource, Shown, TenantField


class ChannelShown(Shown):
    tenant = TenantField(allow_null=True, required=False, help_text="its slug; null: the operators'")
    url = serializers.CharField(write_only=True, max_length=500, help_text="https://… or mailto:…")
    target = serializers.CharField(read_only=True)

    class Meta:
        model = Channel
        fields = ("id", "tenant", "name", "url", "target", "is_enabled", "created_at")
        read_only_fields = ("created_at",)


class ChannelResource(Resource):
    """Where alerts of a tenant go."""

    rows = Channel.objects.select_related("tenant")
    serializer_class = ChannelShown

"""Limits over REST. A tenant sees its own; those without a tenant are the operators' to see and to set."""

from llmobs.limits.models import Limit
from llmobs.tenants.resource import Resource, Shown, TenantField


class LimitShown(Shown):
    tenant = TenantField(allow_null=True, required=False, help_text="its slug; null: all tenants")

    class Meta:
        model = Limit
        fields = ("id", "tenant", "name", "unit", "per", "limit", "scope", "is_active", "created_at")
        read_only_fields = ("created_at",)


class LimitResource(Resource):
    """Requests or tokens in a while, calls at once, or tokens of one request, for the calls that a scope names."""

    rows = Limit.objects.select_related("tenant")
    serializer_class = LimitShown

"""Tenants, keys and the audit trail over REST."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from llmobs.tenants import access, audit
from llmobs.tenants.authentication import KeyAuthentication
from llmobs.tenants.history import has_history
from llmobs.tenants.issuing import give_secret, revoke, rotate
from llmobs.tenants.models import AuditEntry, Key, Tenant
from llmobs.tenants.problem import Conflict
from llmobs.tenants.resource import CREATED, Listed, Resource, Shown, TenantField, UsdField


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document tells of keys."""

    target_class = KeyAuthentication
    name = "key"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A tenant's key, or an operator key."}


class TenantShown(Shown):
    fixed = ("slug",)

    class Meta:
        model = Tenant
        fields = (
            "id", "slug", "name", "plan", "content", "time_zone", "retention_days", "content_retention_days",
            "rollup_retention_days", "bill_retention_days", "archive", "raw_body_days", "cache", "cache_ttl_seconds",
            "cache_mb", "injection", "injection_threshold", "sensitive_input", "sensitive_output",
            "most_input_characters", "confidential_only_local", "brake", "brake_marks", "is_active", "created_at",
        )  # fmt: skip
        read_only_fields = ("created_at",)


class TenantResource(Resource):
    """Who pays. A tenant is found by its id or its slug."""

    rows = Tenant.objects.all()
    serializer_class = TenantShown

    def get_queryset(self) -> QuerySet[Tenant]:
        if getattr(self, "swagger_fake_view", False):
            return Tenant.objects.none()
        return access.tenants(self.caller, self.slug)

    def get_object(self) -> Tenant:
        named = str(self.kwargs["pk"])
        lookup: dict[str, Any] = {"pk": int(named)} if named.isdecimal() and len(named) < 19 else {"slug": named}
        found = access.tenants(self.caller).filter(**lookup).first()
        return found if found is not None else access.tenants(self.caller, named or "-").get()

    def perform_destroy(self, instance: Tenant) -> None:
        self.check_change(None)
        if has_history(instance):
            raise Conflict("The tenant has spans or bills, which stay; set is_active to false instead.")
        audit.delete(instance, self.caller.actor)

    def tenant_of(self, instance: Tenant) -> int | None:
        return None  # operators alone change tenants: plan, content policy and retention are the installation's


class KeyShown(Shown):
    tenant = TenantField(allow_null=True, required=False, help_text="its slug; null: an operator key")
    unpriced_usd = UsdField(source="unpriced_nanousd", allow_null=True, required=False)
    fixed = ("tenant", "name")

    class Meta:
        model = Key
        fields = (
            "id", "tenant", "name", "prefix", "service", "environment", "feature", "allowed_models", "criticality",
            "cache", "unpriced", "unpriced_usd", "most_output_tokens", "expires_at", "revoked_at", "created_at",
        )  # fmt: skip
        read_only_fields = ("prefix", "revoked_at", "created_at")

    def create(self, validated_data: dict[str, Any]) -> Key:
        key = Key(**validated_data)
        self.secret = give_secret(key)
        self.keep(key)
        return key


class KeyWithSecret(KeyShown):
    """What creation and rotation answer: the secret, this once."""

    secret = serializers.CharField(read_only=True)

    class Meta(KeyShown.Meta):
        fields: tuple[str, ...] = (*KeyShown.Meta.fields, "secret")  # type: ignore[assignment]


class KeyResource(Resource):
    """Credentials that we issue. The secret is shown at creation and rotation alone; deleting revokes."""

    rows = Key.objects.select_related("tenant")
    serializer_class = KeyShown

    @extend_schema(responses={201: KeyWithSecret})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        self.perform_create(serializer)
        return Response({**serializer.data, "secret": serializer.secret}, status=CREATED)

    @extend_schema(request=None, responses=KeyWithSecret)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str = "") -> Response:
        """Give the key a new secret, shown in the answer alone; the old one stops working."""
        key = self.get_object()
        self.check_change(key.tenant_id)
        if key.revoked_at is not None:
            raise Conflict("The key was revoked; make a new one.")
        with transaction.atomic():
            secret = rotate(key, self.caller.actor)
        return Response({**self.get_serializer(key).data, "secret": secret})

    def perform_destroy(self, instance: Key) -> None:
        self.check_change(instance.tenant_id)
        revoke(instance, self.caller.actor)


class AuditShown(serializers.ModelSerializer):
    tenant = serializers.SlugRelatedField(slug_field="slug", read_only=True)

    class Meta:
        model = AuditEntry
        fields = ("id", "at", "actor", "action", "kind", "name", "tenant", "change")


class AuditTrail(Listed):
    """Who changed what, when."""

    rows = AuditEntry.objects.select_related("tenant")
    serializer_class = AuditShown
    time_field = "at"

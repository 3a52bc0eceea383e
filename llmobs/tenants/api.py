"""Tenants, keys and the audit trail over REST."""

from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from llmobs.tenants import access, audit
from llmobs.tenants.authentication import KeyAuthentication
from llmobs.tenants.keys import new_secret, prefix_of, secret_hash
from llmobs.tenants.models import AuditEntry, Key, Tenant
from llmobs.tenants.problem import Conflict
from llmobs.tenants.resource import CREATED, Listed, Resource, Shown, TenantField


class KeyScheme(OpenApiAuthenticationExtension):
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
            "id", "slug", "name", "plan", "content", "time_zone", "retention_days", "is_active", "created_at",
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


def has_history(tenant: Tenant) -> bool:
    """Whether anything was recorded for the tenant: bills and spans would lose their owner."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM bill WHERE tenant_id = %(id)s) "
            "OR EXISTS (SELECT 1 FROM span WHERE tenant_id = %(id)s)",
            {"id": tenant.pk},
        )
        return bool(cursor.fetchone()[0])


class KeyShown(Shown):
    tenant = TenantField(allow_null=True, required=False, help_text="its slug; null: an operator key")
    fixed = ("tenant", "name")

    class Meta:
        model = Key
        fields = (
            "id", "tenant", "name", "prefix", "service", "environment", "feature", "allowed_models", "criticality",
            "cache", "unpriced", "expires_at", "revoked_at", "created_at",
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
        fields = (*KeyShown.Meta.fields, "secret")


def give_secret(key: Key) -> str:
    """Give a key (not saved yet) a new secret, and return it."""
    secret = new_secret()
    key.prefix, key.secret_hash = prefix_of(secret), secret_hash(secret)
    return secret


def rotate(key: Key, actor: str) -> str:
    """Give a key another secret; the old one is refused within a second. Returns the new one, to be shown once."""
    secret = give_secret(key)
    audit.save(key, actor, "rotate")
    return secret


def revoke(key: Key, actor: str) -> None:
    """Refuse the key's calls from now on. The row stays: its spans and bills name it."""
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        audit.save(key, actor, "revoke")


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

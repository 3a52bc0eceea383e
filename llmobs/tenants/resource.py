"""What the resources of the REST API have in common: fields, cursor pages, and audited changes behind one door."""

from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.exceptions import NotFound, PermissionDenied, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from llmobs.core.money import MoneyError, exact_usd, parse_usd
from llmobs.tenants import access, audit
from llmobs.tenants.access import Caller
from llmobs.tenants.authentication import AUTHENTICATION, caller_of
from llmobs.tenants.models import Tenant


class Pages(CursorPagination):  # type: ignore[misc]
    """`{"results": [...], "next": url or null}`, newest first."""

    ordering = "-pk"
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 500

    def decode_cursor(self, request: Request) -> Any:
        try:
            return super().decode_cursor(request)
        except NotFound:
            raise ValidationError({"cursor": "The cursor is none of ours."}) from None

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link()})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["results", "next"],
            "properties": {"results": schema, "next": link},
        }


class UsdField(serializers.CharField):  # type: ignore[misc]
    """Nano-USD inside, a decimal string of USD outside."""

    def to_representation(self, value: int) -> str:
        return exact_usd(value)

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float):  # as JSON wrote it, before it loses digits
            data = repr(data)
        if isinstance(data, bool) or not isinstance(data, str | int):
            raise serializers.ValidationError("An amount of USD as a decimal string, such as 12.50.")
        try:
            return parse_usd(data)
        except MoneyError as error:
            raise serializers.ValidationError(str(error)) from None


class TenantField(serializers.SlugRelatedField):  # type: ignore[misc]
    """A tenant by its slug, among those that the caller may change."""

    def __init__(self, **options: Any) -> None:
        super().__init__(slug_field="slug", queryset=Tenant.objects.all(), **options)

    def get_queryset(self) -> QuerySet[Tenant]:
        return access.tenants(caller_of(self.context["request"]))


class Shown(serializers.ModelSerializer):  # type: ignore[misc]
    """An object as JSON; changes are checked by its model and written with their audit entry."""

    # Fields that say what an object belongs to: given at its making, never changed.
    fixed: tuple[str, ...] = ("tenant",)

    def get_validators(self) -> list[Any]:
        return []  # the model's own checks run in `audit.save`, in the transaction that writes

    def create(self, validated_data: dict[str, Any]) -> Any:
        return self.keep(self.Meta.model(**validated_data))

    def update(self, instance: Any, validated_data: dict[str, Any]) -> Any:
        for name, value in validated_data.items():
            if name in self.fixed and getattr(instance, name) != value:
                raise serializers.ValidationError({name: "This cannot be changed; make a new one."})
            setattr(instance, name, value)
        return self.keep(instance)

    def keep(self, instance: Any) -> Any:
        audit.save(instance, caller_of(self.context["request"]).actor)
        instance.refresh_from_db()
        return instance


class Door:
    """Mixed into each view: who calls, and whose objects it sees."""

    authentication_classes = AUTHENTICATION
    permission_classes = (IsAuthenticated,)
    request: Request

    @property
    def caller(self) -> Caller:
        return caller_of(self.request)

    @property
    def slug(self) -> str:
        return str(self.request.query_params.get("tenant", ""))


def moment(request: Request, name: str) -> datetime | None:
    """A parameter as a time, ISO 8601; UTC where it names no zone."""
    text = str(request.query_params.get(name, ""))
    try:
        at = datetime.fromisoformat(text.replace(" ", "+")) if text else None  # a plus that nobody escaped
        return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
    except ValueError:
        raise ValidationError({name: f"{text[:60]!r} is no time; one is 2026-11-20T12:00Z"}) from None


class Listed(Door, mixins.ListModelMixin, viewsets.GenericViewSet):  # type: ignore[misc]
    """Objects of tenants, to be listed. `rows` are all of them; `is_shared_seen`: those of no tenant too.

    `time_field`: what `?from=` (inclusive) and `?to=` (exclusive) are about.
    """

    pagination_class = Pages
    rows: QuerySet[Any]
    is_shared_seen = False
    time_field = "created_at"

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):  # the schema is being made: nobody calls
            return self.rows.none()
        return self.in_window(access.seen(self.rows.all(), self.caller, self.slug, self.is_shared_seen))

    def in_window(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        given = {"from": "gte", "to": "lt"}
        times = {f"{self.time_field}__{how}": moment(self.request, name) for name, how in given.items()}
        return rows.filter(**{lookup: at for lookup, at in times.items() if at is not None})

    def get_object(self) -> Any:
        return access.find(self.rows.all(), self.caller, self.is_shared_seen, pk=self.kwargs["pk"])


class Resource(Listed, viewsets.ModelViewSet):  # type: ignore[misc]
    """Objects of tenants, to be made, read, changed and deleted."""

    lookup_value_regex = "[^/]+"

    def perform_create(self, serializer: Any) -> None:
        tenant = serializer.validated_data.get("tenant")
        self.check_change(None if tenant is None else tenant.pk)
        serializer.save()

    def perform_update(self, serializer: Any) -> None:
        self.check_change(self.tenant_of(serializer.instance))
        serializer.save()

    def perform_destroy(self, instance: Any) -> None:
        self.check_change(self.tenant_of(instance))
        audit.delete(instance, self.caller.actor)

    def check_change(self, tenant_id: int | None) -> None:
        """Raise 403 where the caller sees but may not change."""
        if not self.caller.may_change(tenant_id):
            raise PermissionDenied(
                "An operator key, or a person who is admin of the tenant, may change this; a tenant's key reads."
            )

    def tenant_of(self, instance: Any) -> int | None:
        return instance.tenant_id  # type: ignore[no-any-return]


class SharedResource(Resource):
    """Objects that belong to the installation: everyone who `may_read` sees them, operators change them."""

    def get_queryset(self) -> QuerySet[Any]:
        if not getattr(self, "swagger_fake_view", False) and not self.may_read(self.caller):
            raise PermissionDenied("Operators alone see this.")
        return self.rows.all()

    def get_object(self) -> Any:
        rows = self.get_queryset()
        try:
            return rows.get(pk=self.kwargs["pk"])
        except (rows.model.DoesNotExist, ValueError, OverflowError):
            raise Http404(f"There is no such {rows.model._meta.verbose_name}.") from None

    def may_read(self, caller: Caller) -> bool:
        return True

    def tenant_of(self, instance: Any) -> int | None:
        return None


CREATED = status.HTTP_201_CREATED

"""Runaways over REST: what the brake noted, slowed and paused, and the release of what is paused."""

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from llmobs.brake.connection import brake_client
from llmobs.brake.models import BrakedSession
from llmobs.brake.releasing import NotPaused, keep, release
from llmobs.core.money import exact_usd
from llmobs.tenants.problem import Conflict
from llmobs.tenants.resource import Listed, Pages

FILTERS = {"state": "state", "session": "session_id", "user": "user_id", "feature": "feature"}


class EvidenceShown(serializers.Serializer):
    """What was seen within the window."""

    window_seconds = serializers.IntegerField()
    score = serializers.FloatField(help_text="slowed from 0.6, paused from 1")
    calls = serializers.IntegerField()
    alike_calls = serializers.IntegerField()
    tool_calls = serializers.IntegerField()
    growth_calls = serializers.IntegerField()
    from_bytes = serializers.IntegerField()
    to_bytes = serializers.IntegerField()
    cost_usd = serializers.CharField()
    usual_usd = serializers.CharField(help_text="of a session of the tenant in such a window")


class BrakedShown(serializers.ModelSerializer):
    tenant = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    of = serializers.CharField(source="kind", read_only=True, help_text="session, user or key")
    seen = serializers.CharField(source="told", read_only=True)
    evidence = serializers.SerializerMethodField()

    class Meta:
        model = BrakedSession
        fields = (
            "id", "tenant", "state", "of", "session_id", "user_id", "key_id", "feature", "model", "trace_id",
            "begun_at", "changed_at", "until", "is_paused", "seen", "evidence", "ended_at", "ended_by",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(EvidenceShown)
    def get_evidence(self, session: BrakedSession) -> dict[str, Any]:
        found = {name: int(value) for name, value in session.evidence.items()}
        cost, usual = found.pop("cost_nanousd", 0), found.pop("usual_nanousd", 0)
        score = found.pop("score_permille", 0) / 1000
        return {**found, "score": score, "cost_usd": exact_usd(cost), "usual_usd": exact_usd(usual)}


class NewestFirst(Pages):
    ordering = ("-changed_at", "-id")  # type: ignore[assignment]  # its base has one field


class Brakes(mixins.RetrieveModelMixin, Listed):
    """Sessions that ran away: `?state=`, `?session=`, `?user=`, `?feature=`."""

    rows = BrakedSession.objects.select_related("tenant")
    serializer_class = BrakedShown
    pagination_class = NewestFirst
    time_field = "changed_at"

    def get_queryset(self) -> QuerySet[BrakedSession]:
        rows = super().get_queryset()
        given = self.request.query_params if self.request else {}
        return rows.filter(**{column: given[name] for name, column in FILTERS.items() if given.get(name)})

    @extend_schema(request=None, responses=BrakedShown)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str = "") -> Response:
        """Let the session's calls pass again, within a second or two."""
        session = self._changeable()
        try:
            release(session, self.caller.actor, timezone.now(), brake_client())
        except NotPaused as error:
            raise Conflict(f"{str(error).capitalize()}.") from None
        return self._shown(session)

    @extend_schema(request=None, responses=BrakedShown)
    @action(detail=True, methods=["post"])
    def keep(self, request: Request, pk: str = "") -> Response:
        """Keep the session paused for thirty days: looked at, and found to be a runaway."""
        session = self._changeable()
        try:
            keep(session, self.caller.actor, timezone.now())
        except NotPaused as error:
            raise Conflict(f"{str(error).capitalize()}.") from None
        return self._shown(session)

    def _changeable(self) -> BrakedSession:
        session: BrakedSession = self.get_object()
        if not self.caller.may_change(session.tenant_id):
            raise PermissionDenied("An operator, or a person who is admin of the tenant, may do that; a key reads.")
        return session

    def _shown(self, session: BrakedSession) -> Response:
        session.refresh_from_db()
        return Response(self.get_serializer(session).data)

"""Security events over REST: what guards found in whose calls, and what was done about it."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import mixins, serializers
from rest_framework.exceptions import ValidationError

from llmobs.guards.models import SecurityEvent
from llmobs.tenants.resource import Listed, Pages

FILTERS = {
    "kind": "kind", "where": "place", "action": "action", "name": "name", "feature": "feature",
    "fingerprint": "fingerprint",
}  # fmt: skip
TRACE_ID_DIGITS = 32


class Hex(serializers.CharField):
    """Raw bytes inside, hexadecimal outside."""

    def to_representation(self, value: Any) -> str:
        return bytes(value).hex()


class SecurityEventShown(serializers.ModelSerializer):
    tenant = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    trace_id = Hex(read_only=True)
    span_id = Hex(read_only=True)
    where = serializers.CharField(source="place", read_only=True)
    score = serializers.SerializerMethodField()

    class Meta:
        model = SecurityEvent
        fields = (
            "id", "at", "tenant", "trace_id", "span_id", "kind", "where", "action", "name", "score", "count",
            "fingerprint", "feature", "model",
        )  # fmt: skip

    def get_score(self, event: SecurityEvent) -> float:
        return event.score_permille / 1000


class NewestFirst(Pages):
    ordering = ("-at", "-id")  # type: ignore[assignment]  # its base has one field


class SecurityEventList(mixins.RetrieveModelMixin, Listed):
    """What guards found: `?kind=`, `?where=`, `?action=`, `?name=`, `?feature=`, `?fingerprint=`, `?trace_id=`."""

    rows = SecurityEvent.objects.select_related("tenant")
    serializer_class = SecurityEventShown
    pagination_class = NewestFirst
    time_field = "at"

    def get_queryset(self) -> QuerySet[SecurityEvent]:
        rows = super().get_queryset()
        given = self.request.query_params if self.request else {}
        rows = rows.filter(**{column: given[name] for name, column in FILTERS.items() if given.get(name)})
        if trace_id := given.get("trace_id"):
            rows = rows.filter(trace_id=_raw(trace_id))
        return rows


def _raw(trace_id: str) -> bytes:
    try:
        raw = bytes.fromhex(trace_id) if len(trace_id) == TRACE_ID_DIGITS else b""
    except ValueError:
        raw = b""
    if not raw:
        raise ValidationError({"trace_id": f"{TRACE_ID_DIGITS} hexadecimal digits."})
    return raw

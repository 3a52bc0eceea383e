"""Judges and scores over REST."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import mixins, serializers
from rest_framework.exceptions import ValidationError

from llmobs.evals.models import Judge, Score
from llmobs.tenants import access
from llmobs.tenants.authentication import caller_of
from llmobs.tenants.models import Key
from llmobs.tenants.resource import Listed, Resource, Shown, TenantField

TRACE_ID_DIGITS, SPAN_ID_DIGITS = 32, 16
THUMBS = {"up": (1, "thumb_up"), "down": (-1, "thumb_down")}


class KeyField(serializers.CharField):
    """A key as NAME of the judge's tenant, or SLUG/NAME of another that the caller may change."""

    def to_representation(self, key: Key) -> str:
        return str(key)

    def get_attribute(self, judge: Judge) -> Key:
        return judge.key


class JudgeShown(Shown):
    tenant = TenantField()
    key = KeyField()
    fixed = ("tenant", "name")

    class Meta:
        model = Judge
        fields = (
            "id", "tenant", "name", "feature", "model", "key", "sample", "criteria", "is_enabled", "created_at",
        )  # fmt: skip
        read_only_fields = ("created_at",)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if isinstance(named := attrs.get("key"), str):
            attrs["key"] = self._key(named, attrs.get("tenant") or self.instance.tenant)
        return attrs

    def _key(self, named: str, tenant: Any) -> Key:
        caller = caller_of(self.context["request"])
        slug, _, name = named.rpartition("/")
        found = access.seen(Key.objects.all(), caller).filter(tenant__slug=slug or tenant.slug, name=name).first()
        if found is None or not caller.may_change(found.tenant_id):
            raise ValidationError({"key": f"There is no key {named[:200]!r}; a key of another tenant is SLUG/NAME."})
        return found


class JudgeResource(Resource):
    """A model with a rubric that scores a sample of a tenant's answers."""

    rows = Judge.objects.select_related("tenant", "key__tenant")
    serializer_class = JudgeShown


class IdField(serializers.CharField):
    """An id of a trace or span: raw bytes inside, hexadecimal outside."""

    def __init__(self, digits: int, **options: Any) -> None:
        self.digits = digits
        super().__init__(**options)

    def to_representation(self, value: Any) -> str:
        return bytes(value).hex()

    def to_internal_value(self, data: Any) -> bytes:
        try:
            raw = bytes.fromhex(data) if isinstance(data, str) and len(data) == self.digits else b""
        except ValueError:
            raw = b""
        if not any(raw):
            raise serializers.ValidationError(f"{self.digits} hexadecimal digits, not all zero.")
        return raw


class NumberField(serializers.DecimalField):
    """A number that is no money: JSON's own."""

    def to_representation(self, value: Any) -> float:
        return float(value)


class ScoreShown(serializers.ModelSerializer):
    """Give `thumb` (up or down), `value`, `label`, or several of them."""

    tenant = TenantField(required=False, help_text="its slug; a tenant's key gives its own")
    trace_id = IdField(TRACE_ID_DIGITS)
    span_id = IdField(SPAN_ID_DIGITS, required=False, allow_null=True)
    name = serializers.CharField(max_length=100, default="feedback")
    thumb = serializers.ChoiceField(choices=sorted(THUMBS), write_only=True, required=False)
    value = NumberField(max_digits=12, decimal_places=4, required=False, allow_null=True)
    judge = serializers.SlugRelatedField(slug_field="name", read_only=True)

    class Meta:
        model = Score
        fields = (
            "id", "tenant", "trace_id", "span_id", "name", "thumb", "value", "label", "comment", "details", "source",
            "judge", "created_at",
        )  # fmt: skip
        read_only_fields = ("id", "details", "source", "created_at")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        thumb = attrs.pop("thumb", None)
        if thumb is not None:
            value, label = THUMBS[thumb]
            attrs.setdefault("value", value)
            attrs["label"] = attrs.get("label") or label
        if attrs.get("value") is None and not attrs.get("label"):
            raise ValidationError("A score has a thumb, a value or a label.")
        return attrs


class ScoreList(mixins.CreateModelMixin, Listed):
    """Marks that answers were given: by judges, people and applications."""

    rows = Score.objects.select_related("tenant", "judge")
    serializer_class = ScoreShown

    def get_queryset(self) -> QuerySet[Score]:
        rows = super().get_queryset()
        given = self.request.query_params if self.request else {}
        if trace_id := given.get("trace_id"):
            rows = rows.filter(trace_id=IdField(TRACE_ID_DIGITS).to_internal_value(trace_id))
        if name := given.get("name"):
            rows = rows.filter(name=name)
        return rows

    def perform_create(self, serializer: Any) -> None:
        """Feedback on what may not be stored yet is taken: it waits for its trace."""
        caller = self.caller
        tenant = serializer.validated_data.get("tenant")
        if tenant is None:
            seen = list(access.tenants(caller, self.slug)[:2])
            if len(seen) != 1:
                raise ValidationError({"tenant": "Say whose trace this is: the tenant's slug."})
            tenant = seen[0]
        is_person = caller.key_id == 0
        serializer.save(tenant=tenant, source=Score.Source.USER if is_person else Score.Source.API)

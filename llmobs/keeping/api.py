"""Keeping over REST: erasures, for operators; dead letters, for whose they are and operators."""

from typing import Any

from django.db.models.expressions import RawSQL
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from llmobs.keeping import erasures, letters
from llmobs.keeping.models import DeadLetter, Erasure
from llmobs.tenants.resource import Listed, TenantField


class ErasureShown(serializers.ModelSerializer):
    tenant = serializers.SlugRelatedField(slug_field="slug", read_only=True)

    class Meta:
        model = Erasure
        fields = (
            "id", "tenant", "fingerprint", "asked_by", "asked_at", "finished_at", "error", "found", "proof",
            "signature",
        )  # fmt: skip


class ErasureAsked(serializers.Serializer):
    tenant = TenantField(help_text="its slug")
    user_id = serializers.CharField(max_length=erasures.MOST_USER_CHARACTERS, help_text="as spans name the person")


class ErasureResource(mixins.RetrieveModelMixin, Listed):
    """Persons erased: asked for here, carried out by a worker within a minute; `proof` is signed once it is done."""

    rows = Erasure.objects.select_related("tenant")
    serializer_class = ErasureShown
    time_field = "asked_at"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not self.caller.is_operator:
            raise PermissionDenied("Operators alone erase persons and see the proofs.")

    @extend_schema(request=ErasureAsked, responses={202: ErasureShown})
    def create(self, request: Request) -> Response:
        """Ask for a person to be erased."""
        asked = ErasureAsked(data=request.data, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        erasure = erasures.ask(asked.validated_data["tenant"], asked.validated_data["user_id"], self.caller.actor)
        return Response(self.get_serializer(erasure).data, status=status.HTTP_202_ACCEPTED)


class DeadLetterShown(serializers.ModelSerializer):
    id = serializers.IntegerField(source="letter_id")
    tenant = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    bytes = serializers.IntegerField(help_text="of the sealed entry; 0 once it was replayed")

    class Meta:
        model = DeadLetter
        fields = (
            "id", "tenant", "kind", "reason", "library", "bytes", "owner", "position", "tries", "at", "tried_at",
            "asked_at", "replayed_at",
        )  # fmt: skip


class DeadLetterResource(mixins.RetrieveModelMixin, Listed):
    """What could not be written, each with its reason: replayed (once) or dropped by who may change the tenant."""

    rows = DeadLetter.objects.select_related("tenant").annotate(bytes=RawSQL("length(entry)", ()))
    serializer_class = DeadLetterShown
    time_field = "at"

    @extend_schema(request=None, responses={202: DeadLetterShown})
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: str) -> Response:
        """Have a worker write it within a minute: then `replayed_at` is set, or `reason` says why it stays."""
        letters.ask(DeadLetter.objects.filter(pk=self._changeable().pk), self.caller.actor)
        return Response(self.get_serializer(self.get_object()).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Drop it; what it holds is not counted."""
        letters.drop(DeadLetter.objects.filter(pk=self._changeable().pk), self.caller.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _changeable(self) -> DeadLetter:
        letter: DeadLetter = self.get_object()
        if not self.caller.may_change(letter.tenant_id):
            raise PermissionDenied("An operator key, or a person who is admin of the tenant, may change this.")
        return letter

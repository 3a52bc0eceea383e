"""Erasures over REST, for operators: ask for one, read its proof."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from llmobs.keeping import erasures
from llmobs.keeping.models import Erasure
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

"""Providers and routes over REST. Credentials, headers and queries go in and never come out."""

from typing import Any

from django.conf import settings
from django.db import transaction
from rest_framework import serializers

from llmobs.providers.candidates import replace_candidates
from llmobs.providers.credentials import store_form
from llmobs.providers.models import Candidate, Provider, Route
from llmobs.providers.rules import MOST_WEIGHT
from llmobs.tenants import audit
from llmobs.tenants.access import Caller
from llmobs.tenants.authentication import caller_of
from llmobs.tenants.resource import SharedResource, Shown

REFERENCE = "env:VARIABLE, file:/path, or the secret itself"


class CredentialGiven(serializers.Serializer):
    credential = serializers.CharField(help_text=REFERENCE)
    weight = serializers.IntegerField(default=1, min_value=1, max_value=MOST_WEIGHT)


class ProviderShown(Shown):
    credential = serializers.CharField(write_only=True, required=False, allow_blank=True, help_text=REFERENCE)
    credentials = CredentialGiven(many=True, write_only=True, required=False)
    headers = serializers.DictField(child=serializers.CharField(), write_only=True, required=False)
    query = serializers.DictField(child=serializers.CharField(), write_only=True, required=False)
    has_credential = serializers.SerializerMethodField()
    fixed = ("name",)

    class Meta:
        model = Provider
        fields = (
            "id", "name", "dialect", "base_url", "credential", "credentials", "has_credential", "auth", "headers",
            "api_version", "query", "paths", "serves", "prices_like", "breaker", "retries", "is_local",
            "connect_seconds", "first_byte_seconds", "whole_seconds", "ca_file", "verify", "default_service_tier",
            "is_enabled", "created_at",
        )  # fmt: skip
        read_only_fields = ("created_at",)

    def get_has_credential(self, provider: Provider) -> bool:
        return bool(provider.credential or provider.credentials)

    def validate_credential(self, given: str) -> str:
        return store_form(given, settings.SECRETS.encryption_keys)

    def validate_credentials(self, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
        keys = settings.SECRETS.encryption_keys
        return [{"credential": store_form(each["credential"], keys), "weight": each.get("weight", 1)} for each in given]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        # Whoever gives several takes the single one's place, and the other way round.
        if attrs.get("credentials"):
            attrs.setdefault("credential", "")
        elif attrs.get("credential"):
            attrs.setdefault("credentials", [])
        return attrs


class ProviderResource(SharedResource):
    """Who answers. Operators alone."""

    rows = Provider.objects.all()
    serializer_class = ProviderShown

    def may_read(self, caller: Caller) -> bool:
        return caller.is_operator


class CandidateShown(serializers.ModelSerializer):
    provider = serializers.SlugRelatedField(slug_field="name", queryset=Provider.objects.all())

    class Meta:
        model = Candidate
        fields = ("provider", "model", "weight", "quality", "canary_percent")


class RouteShown(Shown):
    candidates = CandidateShown(many=True, allow_empty=False)
    fixed = ()

    class Meta:
        model = Route
        fields = (
            "id", "name", "strategy", "candidates", "quality_floor", "last_resort", "static_text", "tasks",
            "hedge_after_ms", "cascade_threshold", "cascade_scorer", "salt", "confidential_only_local",
            "most_output_tokens",
        )  # fmt: skip

    def create(self, validated_data: dict[str, Any]) -> Route:
        candidates = validated_data.pop("candidates")
        return self._keep(Route(**validated_data), candidates)

    def update(self, instance: Route, validated_data: dict[str, Any]) -> Route:
        candidates = validated_data.pop("candidates", None)
        for name, value in validated_data.items():
            setattr(instance, name, value)
        return self._keep(instance, candidates)

    def _keep(self, route: Route, candidates: list[dict[str, Any]] | None) -> Route:
        actor = caller_of(self.context["request"]).actor
        with transaction.atomic():
            audit.save(route, actor)
            if candidates is not None:
                replace_candidates(route, [Candidate(**entry) for entry in candidates], actor)
        return route


class RouteResource(SharedResource):
    """What clients put into "model": an alias to an ordered list of candidates."""

    rows = Route.objects.prefetch_related("candidates__provider")
    serializer_class = RouteShown

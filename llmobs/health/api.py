"""Providers over REST with how they are now: a list per provider of what is not healthy."""

from typing import Any

from django.db.models import Prefetch
from rest_framework import serializers

from llmobs.health.models import ProviderState
from llmobs.providers.api import ProviderResource, ProviderShown
from llmobs.providers.models import Provider


class StateShown(serializers.ModelSerializer):
    class Meta:
        model = ProviderState
        fields = ("model", "state", "share_percent", "since")
        read_only_fields = fields


class ProviderWithHealth(ProviderShown):
    state = serializers.SerializerMethodField(help_text="the worst of its models': healthy, recovering or unhealthy")
    states = StateShown(many=True, read_only=True, source="open_states", help_text="models that are not healthy now")

    class Meta(ProviderShown.Meta):
        fields = (*ProviderShown.Meta.fields, "state", "states")  # type: ignore[assignment]  # more of them

    def get_state(self, provider: Provider) -> str:
        found = {state.state for state in self._open(provider)}
        return next((word for word in ("unhealthy", "recovering") if word in found), "healthy")

    def to_representation(self, instance: Provider) -> dict[str, Any]:
        self._open(instance)
        return super().to_representation(instance)  # type: ignore[no-any-return]

    def _open(self, provider: Any) -> list[ProviderState]:
        """One that was just made or changed comes without the prefetch."""
        if not hasattr(provider, "open_states"):
            provider.open_states = list(provider.states.filter(until=None))
        return provider.open_states  # type: ignore[no-any-return]


class ProviderHealthResource(ProviderResource):
    """Who answers, and how they are. Operators alone."""

    rows = Provider.objects.prefetch_related(
        Prefetch("states", queryset=ProviderState.objects.filter(until=None), to_attr="open_states")
    )
    serializer_class = ProviderWithHealth

"""The response cache over REST: what each tenant's holds and has saved, and invalidation.

A tenant's key may forget its own tenant's answers: that changes no configuration, the application that holds it is
who knows when its data have changed, and what it costs is bounded by the tenant's budgets. People need to be admin.
"""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from redis.exceptions import RedisError
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from llmobs.cache import status, store
from llmobs.cache.connection import cache_client
from llmobs.cache.forgetting import forget
from llmobs.cache.status import Books
from llmobs.core.money import exact_usd
from llmobs.tenants import access
from llmobs.tenants.models import Tenant
from llmobs.tenants.problem import TooBusy
from llmobs.tenants.resource import Door

MOST_NAMES_AT_ONCE = 100
KINDS = ("model", "prompt", "feature", "tag")


class BooksShown(serializers.Serializer):
    """Hits, misses and savings are counted in Valkey and lost with it; the lasting record is on the spans."""

    tenant = serializers.CharField()
    mode = serializers.CharField(help_text="off or exact: unless a key or a call says otherwise")
    ttl_seconds = serializers.DictField(child=serializers.IntegerField(), help_text="by feature")
    most_bytes = serializers.IntegerField()
    entries = serializers.IntegerField()
    bytes = serializers.IntegerField()
    hits = serializers.IntegerField()
    misses = serializers.IntegerField()
    hit_rate = serializers.FloatField(allow_null=True, help_text="hits of all look-ups, 0 to 1; null without any")
    saved_tokens = serializers.IntegerField()
    saved_usd = serializers.CharField()


class CachesShown(serializers.Serializer):
    results = BooksShown(many=True)


class Names(serializers.ListField):
    """One name, or a list of them."""

    child = serializers.CharField(max_length=200)

    def to_internal_value(self, data: Any) -> list[str]:
        return list(super().to_internal_value([data] if isinstance(data, str) else data))


class Invalidation(serializers.Serializer):
    """What to forget: all, or every answer that names one of these."""

    all = serializers.BooleanField(required=False, default=False)
    model = Names(required=False, help_text="as clients ask for it, or as its provider names it")
    prompt = Names(required=False, help_text="name, or name@version")
    feature = Names(required=False)
    tag = Names(required=False, help_text="as given by x-llmobs-cache-tags")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(self.initial_data) - set(self.fields))
        if unknown:
            raise ValidationError({unknown[0]: f"No such field; there are {', '.join(self.fields)}."})
        count = sum(len(attrs.get(kind, ())) for kind in KINDS)
        if not count and not attrs["all"]:
            raise ValidationError('Say what to forget: {"all": true}, or any of model, prompt, feature, tag.')
        if count > MOST_NAMES_AT_ONCE:
            raise ValidationError(f"At most {MOST_NAMES_AT_ONCE} names at once.")
        return attrs


class Forgotten(serializers.Serializer):
    tenant = serializers.CharField()
    invalidated = serializers.ListField(child=serializers.CharField(), help_text="as kind:name; tenant: all of it")


class Caches(Door, APIView):
    """Entries, bytes, hits, misses and savings of each tenant's response cache."""

    @extend_schema(responses=CachesShown)
    def get(self, request: Request) -> Response:
        tenants = list(access.tenants(self.caller, self.slug).order_by("slug")[:1000])
        try:
            told = status.books(cache_client(), [tenant.pk for tenant in tenants])
        except (RedisError, OSError):
            raise TooBusy("The cache cannot be reached.") from None
        return Response({"results": [_shown(*pair) for pair in zip(tenants, told, strict=True)]})


class Invalidate(Door, APIView):
    """Forget cached answers, all or by name, in one step."""

    @extend_schema(request=Invalidation, responses=Forgotten)
    def post(self, request: Request) -> Response:
        tenant = self._tenant()
        asked = Invalidation(data=request.data)
        asked.is_valid(raise_exception=True)
        names = _names(asked.validated_data)
        try:
            forget(tenant, names, self.caller.actor)
        except (RedisError, OSError):
            raise TooBusy("The cache cannot be reached: nothing was forgotten. Try again.") from None
        return Response({"tenant": tenant.slug, "invalidated": names})

    def _tenant(self) -> Tenant:
        found = list(access.tenants(self.caller, self.slug)[:2])
        if not found:
            raise Http404("There is no such tenant.")
        if len(found) > 1:
            raise ValidationError({"tenant": "Name the tenant: ?tenant=SLUG."})
        if not self.caller.key_id and not self.caller.may_change(found[0].pk):
            raise PermissionDenied(
                "A person who is admin of the tenant, its own key or an operator may forget answers."
            )
        return found[0]


def _names(asked: dict[str, Any]) -> list[str]:
    if asked["all"]:
        return [store.TENANT]
    return [store.name(kind, each) for kind in KINDS for each in asked.get(kind, ())]


def _shown(tenant: Tenant, books: Books) -> dict[str, Any]:
    asked = books.hits + books.misses
    return {
        "tenant": tenant.slug,
        "mode": tenant.cache,
        "ttl_seconds": tenant.cache_ttl_seconds,
        "most_bytes": tenant.cache_mb * 2**20,
        "entries": books.entries,
        "bytes": books.bytes,
        "hits": books.hits,
        "misses": books.misses,
        "hit_rate": round(books.hits / asked, 4) if asked else None,
        "saved_tokens": books.saved_tokens,
        "saved_usd": exact_usd(books.saved_nanousd),
    }

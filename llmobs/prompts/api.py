"""Prompts over REST: their versions, labels, A/B tests, promotion and roll-back, and what each version came to."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Max, Prefetch, QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from llmobs.prompts import changes
from llmobs.prompts.models import Experiment, Prompt, PromptVersion
from llmobs.prompts.results import results_json
from llmobs.prompts.shown import (
    ExperimentShown,
    LabelGiven,
    PromptShown,
    ResultsShown,
    TestWanted,
    VersionNamed,
    VersionShown,
)
from llmobs.prompts.versions import find_version
from llmobs.tenants import access
from llmobs.tenants.plain_connection import plain_connection
from llmobs.tenants.problem import Conflict
from llmobs.tenants.resource import CREATED, Resource, moment

DEFAULT_DAYS = 30
MOST_COMPARED = 50  # versions whose figures are told at once, the newest
ACTIVE = Prefetch("experiments", Experiment.objects.filter(ended_at=None), to_attr="running_tests")
CURRENT = Prefetch("versions", PromptVersion.objects.filter(number=F("prompt__current")), to_attr="current_versions")


class PromptResource(Resource):
    """Prompts with their versions. One is found by its id or its name; `?version=` shows another than the current."""

    rows = (
        Prompt.objects.select_related("tenant").prefetch_related("labels", ACTIVE, CURRENT)
        .annotate(latest=Max("versions__number"))
    )  # fmt: skip
    serializer_class = PromptShown

    def get_queryset(self) -> QuerySet[Prompt]:
        rows: QuerySet[Prompt] = super().get_queryset()
        name = self.request.query_params.get("name", "") if self.request else ""
        return rows.filter(name=name) if name else rows

    def get_object(self) -> Prompt:
        named = str(self.kwargs["pk"])
        if named.isdecimal():
            return access.find(self.rows.all(), self.caller, pk=named)
        found = access.seen(self.rows.all(), self.caller, self.slug).filter(name=named)[:2]
        if len(found) > 1:
            raise ValidationError({"tenant": f"Several tenants have a prompt {named[:100]!r}: name one, ?tenant=SLUG."})
        if not found:
            raise Http404("There is no such prompt.")
        return found[0]

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        prompt = self.get_object()
        if which := str(request.query_params.get("version", "")):
            prompt.current_versions = [find_version(prompt, which)]  # type: ignore[attr-defined]
        return Response(self.get_serializer(prompt).data)

    def perform_destroy(self, instance: Prompt) -> None:
        self.check_change(instance.tenant_id)
        if changes.running(instance) is not None:
            raise Conflict("A test of this prompt is running: stop it first.")
        super().perform_destroy(instance)

    @extend_schema(methods=["GET"], responses=VersionShown(many=True))
    @extend_schema(methods=["POST"], request=VersionShown, responses={201: VersionShown})
    @action(detail=True, methods=["get", "post"])
    def versions(self, request: Request, pk: str = "") -> Response:
        """List the versions, newest first, or write the next one, which is not current yet."""
        prompt = self.get_object()
        if request.method == "GET":
            return self._page(prompt.versions.select_related("prompt"), VersionShown)
        given = self._given(VersionShown, prompt)
        version = changes.add_version(prompt, given.content(), self.caller.actor, given.validated_data.get("note", ""))
        return Response(VersionShown(version).data, status=CREATED)

    @extend_schema(responses=VersionShown)
    @action(detail=True, methods=["get"], url_path="versions/(?P<which>[^/]+)")
    def version(self, request: Request, pk: str = "", which: str = "") -> Response:
        """One version by its number, a label, `current` or `latest`."""
        return Response(VersionShown(find_version(self.get_object(), which)).data)

    @extend_schema(request=LabelGiven, responses=PromptShown)
    @action(detail=True, methods=["post"])
    def label(self, request: Request, pk: str = "") -> Response:
        """Point a label at a version; `version: null` takes it away."""
        prompt = self.get_object()
        given = self._given(LabelGiven, prompt).validated_data
        changes.set_label(prompt, given["name"], given["version"], self.caller.actor)
        return self._shown()

    @extend_schema(request=VersionNamed, responses=ExperimentShown)
    @action(detail=True, methods=["post"])
    def promote(self, request: Request, pk: str = "") -> Response:
        """Make a variant of the running test current; the test ends with its results recorded."""
        prompt = self.get_object()
        given = self._given(VersionNamed, prompt).validated_data
        return Response(ExperimentShown(changes.promote(prompt, given.get("version"), self.caller.actor)).data)

    @extend_schema(request=None, responses=PromptShown)
    @action(detail=True, methods=["post"])
    def rollback(self, request: Request, pk: str = "") -> Response:
        """Make the version current that was so before."""
        prompt = self.get_object()
        self.check_change(prompt.tenant_id)
        changes.roll_back(prompt, self.caller.actor)
        return self._shown()

    @extend_schema(methods=["GET"], responses=ExperimentShown)
    @extend_schema(methods=["POST"], request=TestWanted, responses={201: ExperimentShown})
    @extend_schema(methods=["DELETE"], request=None, responses={200: ExperimentShown})
    @action(detail=True, methods=["get", "post", "delete"])
    def experiment(self, request: Request, pk: str = "") -> Response:
        """The running A/B test with its results so far; start one; end it without promoting."""
        prompt = self.get_object()
        if request.method == "POST":
            given = self._given(TestWanted, prompt)
            test = changes.start_test(
                prompt, given.arms(), self.caller.actor, given.validated_data.get("control_percentage")
            )
            return Response(ExperimentShown(test).data, status=CREATED)
        if request.method == "DELETE":
            return self.stop(request, pk)
        running = changes.running(prompt)
        if running is None:
            raise Http404("No test of this prompt is running.")
        running.results = changes.measured(prompt, running, timezone.now())
        return Response(ExperimentShown(running).data)

    @extend_schema(request=None, responses=ExperimentShown)
    @action(detail=True, methods=["post"], url_path="experiment/stop")
    def stop(self, request: Request, pk: str = "") -> Response:
        """End the test with its results recorded; what is current stays."""
        prompt = self.get_object()
        self.check_change(prompt.tenant_id)
        return Response(ExperimentShown(changes.stop_test(prompt, self.caller.actor)).data)

    @extend_schema(responses=ExperimentShown(many=True))
    @action(detail=True, methods=["get"])
    def experiments(self, request: Request, pk: str = "") -> Response:
        """All tests of the prompt, newest first, with what was recorded at their end."""
        return self._page(self.get_object().experiments.select_related("prompt"), ExperimentShown)

    @extend_schema(responses=ResultsShown)
    @action(detail=True, methods=["get"])
    def results(self, request: Request, pk: str = "") -> Response:
        """What the calls of each version came to, from `?from=` to `?to=`; the last 30 days unless asked."""
        prompt = self.get_object()
        start, end = self._times()
        numbers = list(prompt.versions.order_by("-number").values_list("number", flat=True)[:MOST_COMPARED])
        found = results_json(plain_connection(), prompt.tenant_id, prompt.name, start, end, numbers)
        return Response({"from": start, "to": end, "versions": list(found.values())})

    def _times(self) -> tuple[datetime, datetime]:
        end = moment(self.request, "to") or timezone.now()
        return moment(self.request, "from") or end - timedelta(days=DEFAULT_DAYS), end

    def _given(self, kind: type[Any], prompt: Prompt) -> Any:
        self.check_change(prompt.tenant_id)
        given = kind(data=self.request.data)
        given.is_valid(raise_exception=True)
        return given

    def _shown(self) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    def _page(self, rows: QuerySet[Any], shown: type[Any]) -> Response:
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(shown(page, many=True).data)

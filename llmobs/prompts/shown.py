"""Prompts, versions, tests and results as JSON, and what a caller gives to change them."""

from typing import Any

from rest_framework import serializers

from llmobs.prompts import changes
from llmobs.prompts.content import Content, text_messages
from llmobs.prompts.models import Experiment, Prompt, PromptVersion
from llmobs.tenants.authentication import caller_of
from llmobs.tenants.resource import Shown, TenantField

CONTENT = ("messages", "text", "model", "params", "variables", "note")


class ContentGiven(serializers.Serializer):  # type: ignore[misc]
    """What a version says, as it is given: `messages`, or `text` for one system message."""

    messages = serializers.JSONField(required=False, help_text='[{"role": "system", "content": "Answer {{name}}."}]')
    text = serializers.CharField(required=False, write_only=True, help_text="one system message", trim_whitespace=False)
    model = serializers.CharField(required=False, allow_blank=True, max_length=200)
    params = serializers.JSONField(required=False)
    variables = serializers.JSONField(required=False, help_text='defaults: {"tone": "friendly", "name": null}')
    note = serializers.CharField(required=False, allow_blank=True, max_length=500)

    def content(self) -> Content:
        """Raises ValidationError where neither messages nor a text is given, or both are."""
        given = self.validated_data
        if ("messages" in given) == ("text" in given):
            raise serializers.ValidationError({"messages": "Give messages, or text for one system message."})
        messages = given["messages"] if "messages" in given else text_messages(given["text"])
        return Content(messages, given.get("model", ""), given.get("params", {}), given.get("variables", {}))


class VersionShown(ContentGiven):
    """One version of a prompt."""

    number = serializers.IntegerField(read_only=True)
    is_current = serializers.SerializerMethodField()
    created_by = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)

    def get_is_current(self, version: PromptVersion) -> bool:
        return bool(version.number == version.prompt.current)


class VariantShown(serializers.Serializer):  # type: ignore[misc]
    version = serializers.IntegerField()
    percentage = serializers.FloatField()


class ExperimentShown(serializers.ModelSerializer):  # type: ignore[misc]
    """An A/B test. `results`: by arm, so far while it runs, as recorded once it has ended."""

    control_percentage = serializers.FloatField()
    variants = VariantShown(many=True)

    class Meta:
        model = Experiment
        fields = (
            "id", "control", "control_percentage", "variants", "started_at", "ended_at", "winner", "results",
        )  # fmt: skip


class PromptShown(ContentGiven, Shown):
    """A prompt, with what its current version says (or the one asked for)."""

    tenant = TenantField()
    current = serializers.IntegerField(required=False, min_value=1)
    version = serializers.SerializerMethodField()
    latest = serializers.IntegerField(read_only=True)
    labels = serializers.SerializerMethodField()
    experiment = serializers.SerializerMethodField()
    fixed = ("tenant", "name")

    class Meta:
        model = Prompt
        fields = (
            "id", "tenant", "name", "current", "latest", "version", "messages", "text", "model", "params", "variables",
            "note", "labels", "experiment", "created_at",
        )  # fmt: skip
        read_only_fields = ("created_at",)

    def to_representation(self, prompt: Prompt) -> dict[str, Any]:
        found = getattr(prompt, "current_versions", None)
        version = found[0] if found else prompt.versions.get(number=prompt.current)
        for name in ("messages", "model", "params", "variables", "note"):
            setattr(prompt, name, getattr(version, name))
        self.number = version.number
        return super().to_representation(prompt)  # type: ignore[no-any-return]

    def get_version(self, prompt: Prompt) -> int:
        return self.number

    def get_labels(self, prompt: Prompt) -> dict[str, int]:
        return {label.name: label.version for label in prompt.labels.all()}

    def get_experiment(self, prompt: Prompt) -> Any:
        tests = getattr(prompt, "running_tests", None)
        test = (tests[0] if tests else None) if tests is not None else changes.running(prompt)
        return ExperimentShown(test).data if test else None

    def create(self, validated_data: dict[str, Any]) -> Prompt:
        if validated_data.get("current", 1) != 1:
            raise serializers.ValidationError({"current": "A new prompt has one version, which is current."})
        actor = caller_of(self.context["request"]).actor
        made = changes.make(
            validated_data["tenant"], validated_data["name"], self.content(), actor, validated_data.get("note", "")
        )
        return self._with_latest(made)

    def update(self, instance: Prompt, validated_data: dict[str, Any]) -> Prompt:
        actor = caller_of(self.context["request"]).actor
        for name in self.fixed:
            if name in validated_data and getattr(instance, name) != validated_data[name]:
                raise serializers.ValidationError({name: "This cannot be changed; make a new one."})
        given = [name for name in CONTENT if name in validated_data]
        if given and not self._says_the_same(instance, validated_data):
            raise serializers.ValidationError({given[0]: "A version is never changed: POST the next one to versions/."})
        if "current" in validated_data:
            changes.set_current(instance, validated_data["current"], actor)
        if hasattr(instance, "current_versions"):
            del instance.current_versions
        return self._with_latest(instance)

    def _says_the_same(self, prompt: Prompt, given: dict[str, Any]) -> bool:
        version = prompt.versions.get(number=prompt.current)
        return all(name != "text" and getattr(version, name) == given[name] for name in CONTENT if name in given)

    def _with_latest(self, prompt: Prompt) -> Prompt:
        prompt.latest = prompt.versions.order_by("-number").values_list("number", flat=True).first()  # type: ignore[attr-defined]
        return prompt


class VersionNamed(serializers.Serializer):  # type: ignore[misc]
    version = serializers.IntegerField(required=False, min_value=1, help_text="may be left out where it is one alone")


class LabelGiven(serializers.Serializer):  # type: ignore[misc]
    name = serializers.CharField(max_length=50)
    version = serializers.IntegerField(min_value=1, allow_null=True)


class VariantGiven(serializers.Serializer):  # type: ignore[misc]
    version = serializers.IntegerField(min_value=1)
    percentage = serializers.FloatField(required=False, min_value=0, max_value=100)


class TestWanted(serializers.Serializer):  # type: ignore[misc]
    """An A/B test to start: `variant` alone, or `variants` with their percentages."""

    variant = serializers.IntegerField(required=False, min_value=1)
    variants = VariantGiven(many=True, required=False)
    control_percentage = serializers.FloatField(required=False, min_value=0, max_value=100)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("variant" in attrs) == bool(attrs.get("variants")):
            raise serializers.ValidationError({"variants": "Give variant, or variants with their percentages."})
        return attrs

    def arms(self) -> list[tuple[int, object]]:
        """Versions with their percentages, None where it is left out."""
        given = self.validated_data
        if "variant" in given:
            return [(given["variant"], None)]
        return [(each["version"], each.get("percentage")) for each in given["variants"]]


class ResultShown(serializers.Serializer):  # type: ignore[misc]
    """What the calls of one version came to; `null`: nothing is known."""

    version = serializers.IntegerField()
    calls = serializers.IntegerField()
    errors = serializers.IntegerField()
    error_rate = serializers.FloatField(allow_null=True)
    cost_usd = serializers.CharField()
    cost_per_call_usd = serializers.CharField(allow_null=True)
    unpriced = serializers.IntegerField()
    p95_ms = serializers.FloatField(allow_null=True)
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    score = serializers.FloatField(allow_null=True, help_text="the judges' mean")
    score_deviation = serializers.FloatField(allow_null=True)
    judged = serializers.IntegerField(help_text="how many judges' scores")
    scores = serializers.DictField(help_text="mean and count by name")


class ResultsShown(serializers.Serializer):  # type: ignore[misc]
    to = serializers.DateTimeField()
    versions = ResultShown(many=True)

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.DateTimeField(), **super().get_fields()}  # a word that Python keeps

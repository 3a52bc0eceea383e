"""Whom a span is attributed to: what it says itself, then its resource, then the key that sent it."""

from dataclasses import dataclass
from typing import Any

from llmobs.ingest.otlp.reading import Attributes, Reading, inner, parsed, take, take_text
from llmobs.ingest.otlp.remembering import remembering
from llmobs.tenants.attribution import Attribution

# Free names under which applications put such ids, most to least exact.
_USER = ("user_id", "userId", "user", "enduser_id")
_SESSION = (
    "session_id",
    "sessionId",
    "conversation_id",
    "conversationId",
    "chat_id",
    "chatId",
    "thread_id",
    "threadId",
)
_FEATURE = ("feature", "feature_name", "featureName")
_FREE = ("traceloop.association.properties.", "ai.telemetry.metadata.", "langfuse.trace.metadata.", "metadata.")


def _with_free(exact: tuple[str, ...], free: tuple[str, ...], last: tuple[str, ...] = ()) -> tuple[str, ...]:
    return exact + tuple(prefix + name for prefix in _FREE for name in free) + last


_USER_EXACT = (
    "llmobs.user", "user.id", "enduser.id", "langfuse.user.id", "gen_ai.user", "gen_ai.request.user", "llm.user",
)  # fmt: skip
_SESSION_EXACT = ("llmobs.session", "session.id", "langfuse.session.id", "gen_ai.conversation.id")
_FEATURE_EXACT = ("llmobs.feature", "feature")
_WORKFLOW = ("gen_ai.workflow.name", "traceloop.workflow.name", "ai.telemetry.functionId")
_USER_NAMES = frozenset(_with_free(_USER_EXACT, _USER))
_SESSION_NAMES = frozenset(_with_free(_SESSION_EXACT, _SESSION))
_FEATURE_NAMES = frozenset(_with_free(_FEATURE_EXACT, _FEATURE))
_ENVIRONMENT = ("deployment.environment.name", "deployment.environment", "llmobs.environment")
_ELSEWHERE = frozenset({"metadata", *_WORKFLOW, *_ENVIRONMENT})
_ORDER = {
    name: place
    for names in (
        _with_free(_USER_EXACT, _USER),
        _with_free(_SESSION_EXACT, _SESSION),
        _with_free(_FEATURE_EXACT, _FEATURE),
    )
    for place, name in enumerate(names)
}
# The default of an SDK that was not told its service's name.
_NO_SERVICE = "unknown_service"
MOST_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Origin:
    """What a resource says of all its spans, or the key that sent them. `feature`: the resource's alone."""

    service: str
    environment: str
    feature: str
    key: Attribution


@dataclass(frozen=True, slots=True)
class Names:
    """Under which of its names a span says whom it is of, most exact first. `has_more`: elsewhere too."""

    user: tuple[str, ...]
    session: tuple[str, ...]
    feature: tuple[str, ...]
    has_more: bool


def origin(resource: Attributes, key: Attribution) -> Origin:
    service = str(resource.get("service.name") or "")
    environment = next((str(resource[name]) for name in _ENVIRONMENT if resource.get(name)), "")
    return Origin(
        _cut("" if service.startswith(_NO_SERVICE) else service) or key.service,
        environment,
        str(resource.get("llmobs.feature") or ""),
        key,
    )


@remembering(2048)
def names_among(names: tuple[str, ...]) -> Names:
    """An exporter sends the same few sets of names over and over."""

    def known(of: frozenset[str]) -> tuple[str, ...]:
        return tuple(sorted(of.intersection(names), key=_ORDER.__getitem__))

    return Names(known(_USER_NAMES), known(_SESSION_NAMES), known(_FEATURE_NAMES), not _ELSEWHERE.isdisjoint(names))


def attribute(attributes: Attributes, of: Origin, reading: Reading, names: Names | None = None) -> Attribution:
    """Take attribution out of the attributes; what neither span nor resource says is the key's default."""
    names = names or names_among(tuple(attributes))
    user = take_text(attributes, names.user) if names.user else ""
    session = take_text(attributes, names.session) if names.session else ""
    feature = take_text(attributes, names.feature) if names.feature else ""
    metadata: dict[str, Any] = {}
    environment = reading.environment
    if names.has_more:
        metadata = _metadata(attributes)
        environment = environment or take_text(attributes, _ENVIRONMENT)
        user, session = user or _of(metadata, _USER), session or _of(metadata, _SESSION)
        feature = feature or _of(metadata, _FEATURE)
    workflow = "" if feature or not names.has_more else _workflow(attributes)
    return attributed(of, user, session, feature or of.feature or workflow, environment)


def attributed(of: Origin, user: str, session: str, feature: str, environment: str = "") -> Attribution:
    """What a span says itself, then its resource, then the key."""
    key = of.key
    return Attribution(
        of.service,
        _cut(environment or of.environment) or key.environment,
        _cut(feature or of.feature) or key.feature,
        _cut(user) or key.user_id,
        _cut(session) or key.session_id,
        key.key_id,
    )


def _workflow(attributes: Attributes) -> str:
    return next((str(attributes[name]) for name in _WORKFLOW if attributes.get(name)), "")


def _metadata(attributes: Attributes) -> dict[str, Any]:
    """OpenInference's `metadata`, a JSON object in a text; kept as an object."""
    value = parsed(take(attributes, ("metadata",))) if "metadata" in attributes else None
    if not isinstance(value, dict):
        return {}
    attributes["metadata"] = value
    return value


def _of(metadata: dict[str, Any], names: tuple[str, ...]) -> str:
    found = (inner(metadata, name) for name in names)
    return next((str(value) for value in found if isinstance(value, str | int) and value != ""), "")


def _cut(text: str) -> str:
    if len(text) <= MOST_CHARACTERS and "\x00" not in text:
        return text
    return text[:MOST_CHARACTERS].replace("\x00", "")

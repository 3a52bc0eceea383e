"""Whom a span is attributed to: what it says itself, then its resource, then the key that sent it."""

from typing import Any

from llmobs.ingest.otlp.reading import Attributes, Reading, inner, parsed, take, take_text
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
_NAMES = _USER_NAMES | _SESSION_NAMES | _FEATURE_NAMES
_ENVIRONMENT = ("deployment.environment.name", "deployment.environment", "llmobs.environment")
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


def attribute(attributes: Attributes, resource: Attributes, reading: Reading, key: Attribution) -> Attribution:
    """Take attribution out of the attributes; what neither span nor resource says is the key's default."""
    names = attributes.keys() & _NAMES
    user = _first(attributes, names & _USER_NAMES) if names else ""
    session = _first(attributes, names & _SESSION_NAMES) if names else ""
    feature = _first(attributes, names & _FEATURE_NAMES) if names else ""
    metadata = _metadata(attributes)
    workflow = "" if feature else next((str(attributes[name]) for name in _WORKFLOW if attributes.get(name)), "")
    service = str(resource.get("service.name") or "")
    return Attribution(
        service=_cut("" if service.startswith(_NO_SERVICE) else service) or key.service,
        environment=_cut(reading.environment or _environment(attributes, resource)) or key.environment,
        feature=_cut(feature or _of(metadata, _FEATURE) or str(resource.get("llmobs.feature") or "") or workflow)
        or key.feature,
        user_id=_cut(user or _of(metadata, _USER)) or key.user_id,
        session_id=_cut(session or _of(metadata, _SESSION)) or key.session_id,
        key_id=key.key_id,
    )


def _first(attributes: Attributes, names: set[str]) -> str:
    return take_text(attributes, sorted(names, key=_ORDER.__getitem__)) if names else ""


def _environment(attributes: Attributes, resource: Attributes) -> str:
    own = take_text(attributes, _ENVIRONMENT)
    return own or next((str(resource[name]) for name in _ENVIRONMENT if resource.get(name)), "")


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
    return text[:MOST_CHARACTERS].replace("\x00", "")

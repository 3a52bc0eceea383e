"""Who answers: the candidate for the model that the request names, if the key may use it."""

from fnmatch import fnmatchcase

from gateway.call import Call
from gateway.errors import Refusal
from gateway.plane import Plane


def route(call: Call, plane: Plane) -> None:
    """Fill the candidate. Raises Refusal."""
    asked, snapshot = call.asked, plane.snapshot
    assert asked is not None
    assert call.tenant is not None
    assert snapshot is not None
    if not asked.model.isprintable():
        raise Refusal("invalid_request", "the model's name holds characters that no name has")
    if not is_allowed(asked.model, call.key.allowed_models):
        raise Refusal("model_not_allowed", f"this key may not use the model {asked.model!r}")
    candidates = snapshot.candidates(call.tenant.id, asked.model, call.dialect.name, call.started_ns)
    if not candidates:
        raise Refusal("unknown_model", f"no route and no provider is known for the model {asked.model!r}")
    # A candidate of the other format is passed over as long as bodies are not translated.
    speaking = next((c for c in candidates if c.provider.dialect == call.dialect.name), None)
    if speaking is None:
        other = candidates[0].provider
        raise Refusal(
            "invalid_request",
            f"the model {asked.model!r} is served by {other.name}, which speaks the {other.dialect} format: "
            f"call it by that format's address",
        )
    call.candidate = speaking
    asked.thinks = asked.thinks or call.dialect.may_think(speaking.model)


def is_allowed(model: str, allowed_models: tuple[str, ...]) -> bool:
    """Whether a key's names and globs allow the model; none allow all."""
    return not allowed_models or any(fnmatchcase(model, pattern) for pattern in allowed_models)

"""Who answers: the candidate for the model that the request names, if the key may use it."""

from fnmatch import fnmatchcase

from gateway.call import Call
from gateway.dialects.dialect import BadRequest
from gateway.dialects.translation import translation
from gateway.errors import Refusal
from gateway.plane import Plane
from llmobs.providers.registry import CandidateInfo


def route(call: Call, plane: Plane) -> None:
    """Fill the candidates. Raises Refusal."""
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
    call.candidates = speaking(call, candidates)
    asked.thinks = asked.thinks or call.dialect.may_think(call.candidates[0].model)


def speaking(call: Call, candidates: tuple[CandidateInfo, ...]) -> tuple[CandidateInfo, ...]:
    """Those that the call's format reaches, as it is or translated. Raises Refusal where there is none."""
    found, why = [], ""
    for candidate in candidates:
        try:
            translation(call.dialect, candidate.provider.dialect)
        except BadRequest as error:
            why = why or str(error)
        else:
            found.append(candidate)
    if not found:
        asked = call.asked.model if call.asked is not None else ""
        raise Refusal("invalid_request", f"the model {asked!r} is served by {candidates[0].provider.name}: {why}")
    return tuple(found)


def is_allowed(model: str, allowed_models: tuple[str, ...]) -> bool:
    """Whether a key's names and globs allow the model; none allow all."""
    return not allowed_models or any(fnmatchcase(model, pattern) for pattern in allowed_models)

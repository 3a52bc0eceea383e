"""Who answers: the candidates for the model or task that the request names, in the order in which they are tried."""

from fnmatch import fnmatchcase

import msgspec

from gateway.call import COUNT_TOKENS, Answer, Call
from gateway.choosing import is_confidential, is_served, ordered, reached
from gateway.dialects.wire import WRONG, objects
from gateway.errors import Refusal
from gateway.plane import Plane
from gateway.routing import tasks
from gateway.routing.cascading import wants_json
from gateway.snapshot import Snapshot
from llmobs.providers.registry import CandidateInfo, RouteInfo

ANSWERING = frozenset({"chat", "messages", "responses"})  # operations that a task can be asked of


def route(call: Call, plane: Plane) -> None:
    """Fill route and candidates. Raises Refusal."""
    asked, snapshot, tenant = call.asked, plane.snapshot, call.tenant
    assert asked is not None
    assert tenant is not None
    assert snapshot is not None
    if not asked.model.isprintable():
        raise Refusal("invalid_request", "the model's name holds characters that no name has")
    found = _by_task(call, snapshot)
    if found is None:
        if not is_allowed(asked.model, call.key.allowed_models):
            raise Refusal("model_not_allowed", f"this key may not use the model {asked.model!r}")
        found = snapshot.registry.routes.get(asked.model)
    if found is None:
        candidates = snapshot.candidates(tenant.id, asked.model, call.dialect.name, call.started_ns)
        if not candidates:
            raise Refusal("unknown_model", f"no route and no provider is known for the model {asked.model!r}")
        if call.dialect.serves == COUNT_TOKENS and not is_served(call, candidates):
            _count(call, candidates[0], plane)
            return
        call.candidates = reached(call, candidates)
        if tenant.confidential_only_local and not call.candidates[0].provider.is_local and is_confidential(call):
            raise Refusal("sensitive_data", f"the content is confidential, and {asked.model!r} is not served locally")
    else:
        if not found.candidates:
            raise Refusal("unknown_model", f"no provider of the route {found.name!r} is enabled")
        if call.dialect.serves == COUNT_TOKENS and not is_served(call, found.candidates):
            _count(call, found.candidates[0], plane)
            return
        call.route = found
        call.candidates = ordered(call, found, plane, snapshot)


def _by_task(call: Call, snapshot: Snapshot) -> RouteInfo | None:
    """The route for the task that the header names, else, for the model `auto`, for what the request looks like.

    None: the model's name decides. A model that is named gives way only to a route that lists the task itself.
    Fails closed: the key must allow the route that is chosen, that it allows `auto` is not enough. Raises Refusal.
    """
    asked, routes = call.asked, snapshot.registry.routes
    assert asked is not None
    header = call.headers.get(b"x-llmobs-task")
    is_auto = asked.model == tasks.AUTO and tasks.AUTO not in routes
    if not is_auto and (header is None or call.dialect.serves not in ANSWERING):
        return None
    if header is not None:
        task = header.decode("latin-1").strip()
    else:
        task = tasks.task_of(last_user_text(call.body), wants_json(call.body), asked.thinks)
    found = (tasks.route_for if is_auto else tasks.listing)(task, routes.values())
    if found is None:
        if is_auto:
            raise Refusal("unknown_model", tasks.nothing_for(task))
        return None
    if not is_allowed(found.name, call.key.allowed_models):
        message = f"this key may not use the route {found.name!r}, to which the task {task[:100]!r} leads"
        raise Refusal("model_not_allowed", message)
    return found


def last_user_text(body: bytes) -> str:
    """What the caller asks last, whatever the format; "" where it says nothing in words. Raises Refusal."""
    try:
        fields = msgspec.json.decode(body)
    except WRONG:
        raise Refusal("invalid_request", "the body cannot be read, so no task can be told from it") from None
    asked = fields.get("messages", fields.get("input"))
    if isinstance(asked, str):
        return asked
    turns = [turn for turn in objects(asked) if turn.get("role") == "user"]
    content = turns[-1].get("content") if turns else ""
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in objects(content)]
    return "\n".join(text for text in parts if isinstance(text, str))


def _count(call: Call, candidate: CandidateInfo, plane: Plane) -> None:
    """Answer a count of tokens that no provider of the model makes: by what its requests took so far."""
    estimates = plane.rates.estimates
    tokens = estimates.expected_input(candidate.provider.name, candidate.model, len(call.body))
    body = msgspec.json.encode({"input_tokens": tokens})
    call.answer = Answer(200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))], body)


def is_allowed(model: str, allowed_models: tuple[str, ...]) -> bool:
    """Whether a key's names and globs allow the model; none allow all."""
    return not allowed_models or any(fnmatchcase(model, pattern) for pattern in allowed_models)

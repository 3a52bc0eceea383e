"""Who answers: the candidates for the model or task that the request names, in the order in which they are tried."""

import time
from fnmatch import fnmatchcase

import msgspec

from gateway.call import COUNT_TOKENS, Answer, Call
from gateway.dialects.dialect import BadRequest
from gateway.dialects.translation import translation
from gateway.dialects.wire import WRONG, objects
from gateway.errors import Refusal
from gateway.plane import Plane
from gateway.routing import tasks
from gateway.routing.cascading import wants_json
from gateway.routing.strategies import Facts, plan, primary
from gateway.snapshot import Snapshot
from llmobs.guards.sensitive import CONFIDENTIAL
from llmobs.guards.signs import sensitivity
from llmobs.pricing.price import Price
from llmobs.pricing.usage import Usage
from llmobs.providers.registry import CandidateInfo, RouteInfo

EXPECTED_OUTPUT_TOKENS = 512  # where a request sets no ceiling: only compares candidates with each other
BYTES_PER_TOKEN = 4
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
        if call.dialect.serves == COUNT_TOKENS and not _serving(call, candidates):
            _count(call, candidates[0], plane)
            return
        call.candidates = reached(call, candidates)
        if tenant.confidential_only_local and not call.candidates[0].provider.is_local and is_confidential(call):
            raise Refusal("sensitive_data", f"the content is confidential, and {asked.model!r} is not served locally")
    else:
        if not found.candidates:
            raise Refusal("unknown_model", f"no provider of the route {found.name!r} is enabled")
        if call.dialect.serves == COUNT_TOKENS and not _serving(call, found.candidates):
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


def ordered(call: Call, found: RouteInfo, plane: Plane, snapshot: Snapshot) -> tuple[CandidateInfo, ...]:
    """The route's candidates in the order in which this call tries them. Raises Refusal where none is reached."""
    asked, tenant, who = call.asked, call.tenant, call.attribution
    assert asked is not None
    assert tenant is not None
    candidates = reached(call, found.candidates)
    if len(candidates) < len(found.candidates):
        found = msgspec.structs.replace(found, candidates=candidates)
    facts = Facts(
        tenant_id=tenant.id,
        criticality=call.key.criticality,
        user=who.user_id,
        session=who.session_id,
        trace_id=call.trace_id,
        span_id=call.span_id,
        is_stream=asked.is_stream,
        is_confidential=(found.confidential_only_local or tenant.confidential_only_local) and is_confidential(call),
        usage=expected_usage(call),
    )

    def price(candidate: CandidateInfo) -> Price | None:
        return snapshot.book.price(tenant.id, candidate.provider.priced_as, candidate.model, call.started_ns)

    call.primary = primary(found, facts)
    return plan(found, facts, plane.health, price, plane.turns, time.monotonic())


def expected_usage(call: Call) -> Usage:
    """What the call may take: compares candidates with each other, and nothing more."""
    output = call.asked.most_output_tokens if call.asked is not None else None
    return Usage(
        uncached_input=len(call.body) // BYTES_PER_TOKEN + 1,
        output=output or EXPECTED_OUTPUT_TOKENS,
    )


def is_confidential(call: Call) -> bool:
    return sensitivity(call.body) == CONFIDENTIAL


def _count(call: Call, candidate: CandidateInfo, plane: Plane) -> None:
    """Answer a count of tokens that no provider of the model makes: by what its requests took so far."""
    estimates = plane.rates.estimates
    tokens = estimates.expected_input(candidate.provider.name, candidate.model, len(call.body))
    body = msgspec.json.encode({"input_tokens": tokens})
    call.answer = Answer(200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))], body)


def reached(call: Call, candidates: tuple[CandidateInfo, ...]) -> tuple[CandidateInfo, ...]:
    """Those that the call's format reaches, as it is or translated. Raises Refusal where there is none."""
    found, why = _looked_at(call, candidates)
    if not found:
        asked = call.asked.model if call.asked is not None else ""
        raise Refusal("invalid_request", f"the model {asked!r} is served by {candidates[0].provider.name}: {why}")
    return tuple(found) if len(found) < len(candidates) else candidates


def _serving(call: Call, candidates: tuple[CandidateInfo, ...]) -> bool:
    return bool(_looked_at(call, candidates)[0])


def _looked_at(call: Call, candidates: tuple[CandidateInfo, ...]) -> tuple[list[CandidateInfo], str]:
    """Those that are reached, and why the first of the others is not."""
    found, why = [], ""
    for candidate in candidates:
        provider = candidate.provider
        try:
            translated = translation(call.dialect, provider.dialect, provider.serves)
        except BadRequest as error:
            why = why or str(error)
            continue
        serves = call.dialect.serves if translated is None else translated.speaks.serves
        if serves in provider.serves:
            found.append(candidate)
        else:
            why = why or f"it does not serve {serves} (its `serves` says what it does)"
    return found, why


def is_allowed(model: str, allowed_models: tuple[str, ...]) -> bool:
    """Whether a key's names and globs allow the model; none allow all."""
    return not allowed_models or any(fnmatchcase(model, pattern) for pattern in allowed_models)

"""Drives the planned calls through the gateway and keeps what each answer said.

Calls are taken in their order, none before it is due; at most `connections` are under way. Nothing is retried: what the
gateway answers is what is compared afterwards.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from llmobs.core.money import parse_usd
from llmobs.ops.demo.client import Client, ClientError, Response
from llmobs.ops.demo.plan import Call
from llmobs.ops.demo.wire import Wire

CONNECTIONS = 64
COST_COMMENT = b": llmobs cost_usd="


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a call. `status` 0: no answer came, `reason` says why. Unknown figures are None."""

    call: Call
    status: int
    duration_ns: int
    reason: str = ""
    response_id: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_nanousd: int | None = None
    degraded: str = ""

    @property
    def is_served(self) -> bool:
        return self.status == 200

    @property
    def is_refused(self) -> bool:
        """Our own no, not the provider's."""
        return self.status in (402, 429) and self.reason == "budget_exhausted"


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Body(msgspec.Struct):
    """What both formats' answers and stream events tell; `message` is Anthropic's first event."""

    id: str = ""
    usage: _Usage | None = None
    message: "_Body | None" = None


_decode = msgspec.json.Decoder(_Body).decode


async def drive(
    calls: Sequence[Call],
    wire: Wire,
    address: tuple[str, int],
    on_answer: Callable[[Answered], None] = lambda _: None,
    connections: int = CONNECTIONS,
) -> list[Answered]:
    """Send all calls; the answers in the order in which they came."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    waiting = iter(calls)
    answers: list[Answered] = []

    async def work() -> None:
        async with Client(*address) as client:
            for call in waiting:  # one iterator for all: each call is taken once
                ahead = begin + call.due_s - loop.time()
                if ahead > 0:
                    await asyncio.sleep(ahead)
                answer = await _ask(client, call, wire)
                answers.append(answer)
                on_answer(answer)

    await asyncio.gather(*(work() for _ in range(min(connections, len(calls)))))
    return answers


async def _ask(client: Client, call: Call, wire: Wire) -> Answered:
    try:
        response = await client.request(wire.request(call))
    except ClientError as error:
        return Answered(call, 0, 0, reason=str(error))
    if response.status != 200:
        return Answered(call, response.status, response.duration_ns, response.headers.get("x-llmobs-reason", ""))
    try:
        return (_read_stream if call.is_stream else _read_whole)(call, response)
    except (msgspec.MsgspecError, ValueError) as error:
        return Answered(call, 0, response.duration_ns, reason=f"the answer cannot be read: {error}")


def _read_whole(call: Call, response: Response) -> Answered:
    body = _decode(response.body)
    return _answered(call, response, body.id, body.usage, response.headers.get("x-llmobs-cost-usd"))


def _read_stream(call: Call, response: Response) -> Answered:
    response_id, usage, cost, said = "", None, None, _Usage()
    for line in response.body.split(b"\n"):
        if line.startswith(COST_COMMENT):
            cost = line[len(COST_COMMENT) :].strip().decode()
        # Only the first event and those with usage are decoded.
        elif line.startswith(b"data: {") and (not response_id or b'"usage":{' in line):
            event = _decode(line[6:])
            inner = event.message or event
            response_id = response_id or inner.id
            usage = inner.usage or usage
            if usage is not None:
                said = _merged(said, usage)
    return _answered(call, response, response_id, said if usage else None, cost)


def _merged(earlier: _Usage, later: _Usage) -> _Usage:
    """Figures of later events replace earlier ones: they are cumulative."""
    return _Usage(
        later.prompt_tokens if later.prompt_tokens is not None else earlier.prompt_tokens,
        later.completion_tokens if later.completion_tokens is not None else earlier.completion_tokens,
        later.input_tokens if later.input_tokens is not None else earlier.input_tokens,
        later.output_tokens if later.output_tokens is not None else earlier.output_tokens,
    )


def _answered(call: Call, response: Response, response_id: str, usage: _Usage | None, cost: str | None) -> Answered:
    return Answered(
        call,
        response.status,
        response.duration_ns,
        response_id=response_id,
        input_tokens=_either(usage.prompt_tokens, usage.input_tokens) if usage else None,
        output_tokens=_either(usage.completion_tokens, usage.output_tokens) if usage else None,
        cost_nanousd=None if cost is None else parse_usd(cost),
        degraded=response.headers.get("x-llmobs-degraded", ""),
    )


def _either(one: int | None, other: int | None) -> int | None:
    return other if one is None else one

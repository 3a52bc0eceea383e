"""The official Anthropic client: text, streams, tools, thinking, cache, to providers of both formats."""

import asyncio
from typing import Any

import anthropic

from llmobs.ops.simulator.running import Running
from tests.clients.asking import CALL, HELLO, MOST, TOOL, TWO_CALLS, Ticket
from tests.clients.conftest import CLAUDE
from tests.gateway.running import Gateway


def test_it_gets_a_whole_answer(anthropic_client: anthropic.Anthropic, gateway: Gateway, model: str) -> None:
    """S0-05: any model by this client too."""
    message = anthropic_client.messages.create(model=model, system="Be brief.", messages=HELLO, max_tokens=MOST)
    (block,) = message.content
    assert block.type == "text"
    assert (message.usage.input_tokens, message.usage.output_tokens, len(block.text.split())) == (5, MOST, MOST)
    assert (message.type, message.stop_reason, gateway.usage().output) == ("message", "end_turn", MOST)


def test_it_gets_a_stream(anthropic_client: anthropic.Anthropic, gateway: Gateway, model: str) -> None:
    """S2-43, S4-30: answers come in pieces when asked, whoever gives them."""
    with anthropic_client.messages.stream(model=model, messages=HELLO, max_tokens=MOST) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) >= MOST // 10
    assert len("".join(pieces).split()) == MOST
    assert (final.usage.output_tokens, final.stop_reason, gateway.usage().output) == (MOST, "end_turn", MOST)


def test_its_events_come_in_their_order(anthropic_client: anthropic.Anthropic, model: str) -> None:
    with anthropic_client.messages.create(model=model, messages=HELLO, max_tokens=20, stream=True) as stream:
        kinds = [event.type for event in stream]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert "content_block_delta" in kinds


def test_its_asynchronous_client_is_served(gateway: Gateway, secret: str, model: str) -> None:
    async def ask() -> tuple[int, int]:
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=secret, max_retries=0) as client:
            whole = await client.messages.create(model=model, messages=HELLO, max_tokens=MOST)
            async with client.messages.stream(model=model, messages=HELLO, max_tokens=MOST) as stream:
                streamed = await stream.get_final_message()
        return whole.usage.output_tokens, streamed.usage.output_tokens

    assert asyncio.run(ask()) == (MOST, MOST)


def test_a_tools_call_and_its_result_go_round(anthropic_client: anthropic.Anthropic, model: str) -> None:
    ask: dict[str, Any] = {"model": model, "tools": [TOOL], "max_tokens": MOST}
    first = anthropic_client.messages.create(messages=CALL, **ask)
    (block,) = first.content
    assert (first.stop_reason, block.type, block.input) == ("tool_use", "tool_use", {"city": "Bern", "days": 3})
    result = {"type": "tool_result", "tool_use_id": block.id, "content": "sun"}
    history = [*CALL, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = anthropic_client.messages.create(messages=history, **ask)
    assert (second.stop_reason, len(second.content[0].text.split())) == ("end_turn", MOST)


def test_parallel_calls_are_streamed_and_their_results_taken(anthropic_client: anthropic.Anthropic, model: str) -> None:
    ask: dict[str, Any] = {"model": model, "tools": [TOOL], "max_tokens": MOST}
    with anthropic_client.messages.stream(messages=TWO_CALLS, **ask) as stream:
        partial = [event for event in stream if event.type == "input_json"]
        blocks: Any = stream.get_final_message().content
    results = [{"type": "tool_result", "tool_use_id": block.id, "content": "sun"} for block in blocks]
    history = [*TWO_CALLS, {"role": "assistant", "content": blocks}, {"role": "user", "content": results}]
    after = anthropic_client.messages.create(messages=history, **ask)
    assert [block.input for block in blocks] == [{"city": "Bern"}, {"city": "Basel"}]
    assert len(partial) > 2
    assert after.content[0].type == "text"


def test_a_tool_is_forced(anthropic_client: anthropic.Anthropic, model: str) -> None:
    choices: list[Any] = [{"type": "any"}, {"type": "tool", "name": "weather"}]
    for choice in choices:
        message = anthropic_client.messages.create(
            model=model, messages=HELLO, tools=[TOOL], tool_choice=choice, max_tokens=MOST
        )
        assert [block.type for block in message.content] == ["tool_use"]


def test_it_parses_an_answer_of_a_shape(anthropic_client: anthropic.Anthropic, model: str) -> None:
    message = anthropic_client.messages.parse(model=model, messages=HELLO, output_format=Ticket, max_tokens=90)
    assert message.parsed_output == Ticket(title="text", urgency="low", hours=1, tags=["text"])


def test_thinking_comes_with_its_signature(anthropic_client: anthropic.Anthropic) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    with anthropic_client.messages.stream(model=CLAUDE, messages=HELLO, max_tokens=1100, thinking=thinking) as stream:
        message: Any = stream.get_final_message()
    thought, text = message.content
    assert (thought.type, text.type) == ("thinking", "text")
    assert thought.thinking
    assert thought.signature
    history: list[Any] = [*HELLO, {"role": "assistant", "content": message.content}, *HELLO]
    after = anthropic_client.messages.create(model=CLAUDE, messages=history, max_tokens=1100, thinking=thinking)
    assert after.usage.output_tokens == 1100


def test_thinking_asked_of_the_other_format_is_answered(anthropic_client: anthropic.Anthropic) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    message = anthropic_client.messages.create(model="gpt-5-mini", messages=HELLO, max_tokens=1100, thinking=thinking)
    assert message.usage.output_tokens == 1100
    assert message.content[-1].type == "text"


def test_a_marked_prefix_is_read_from_the_providers_cache(
    anthropic_client: anthropic.Anthropic, gateway: Gateway, simulator: Running
) -> None:
    mark: Any = {"type": "ephemeral"}
    system: Any = [{"type": "text", "text": "word " * 1100, "cache_control": mark}]
    usages = [
        anthropic_client.messages.create(model=CLAUDE, system=system, messages=HELLO, max_tokens=5).usage
        for _ in range(2)
    ]
    assert [(usage.cache_creation_input_tokens, usage.cache_read_input_tokens) for usage in usages] == [
        (1100, 0),
        (0, 1100),
    ]
    costs = [end.cost_nanousd or 0 for end in gateway.ends()]
    # USD per million: input 3, written 3.75, read 0.30, output 15
    assert costs == [3 * 3000 + 1100 * 3750 + 5 * 15000, 3 * 3000 + 1100 * 300 + 5 * 15000]
    assert simulator.bill.as_dict()["cost_usd"] == f"{sum(costs) / 1e9:.9f}".rstrip("0")

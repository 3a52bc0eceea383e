"""LangChain's clients of both formats, to providers of both formats."""

from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from tests.clients.asking import MOST, Ticket
from tests.gateway.running import Gateway

ASKED = "one two three"


@pytest.fixture(params=["openai", "anthropic"])
def chat(request: pytest.FixtureRequest, gateway: Gateway, secret: str, model: str) -> BaseChatModel:
    """LangChain's client of one format."""
    made: dict[str, Any] = {"model": model, "api_key": secret, "max_retries": 0, "max_tokens": MOST}
    if request.param == "openai":
        return ChatOpenAI(base_url=f"{gateway.url}/v1", **made)
    return ChatAnthropic(base_url=gateway.url, **made)


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"sun in {city}"


def test_it_invokes(chat: BaseChatModel, gateway: Gateway) -> None:
    answer = chat.invoke(ASKED)
    assert len(answer.text.split()) == MOST
    assert answer.usage_metadata is not None
    assert (answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]) == (3, MOST)
    assert gateway.usage().output == MOST


def test_it_streams(chat: BaseChatModel, gateway: Gateway) -> None:
    pieces = [piece.text for piece in chat.stream(ASKED)]
    assert len([piece for piece in pieces if piece]) >= MOST // 10
    assert len("".join(pieces).split()) == gateway.usage().output == MOST


def test_its_tools_go_round(chat: BaseChatModel) -> None:
    bound = chat.bind_tools([weather])
    ask: list[Any] = [HumanMessage('[[call weather {"city": "Bern"}]] [[call weather {"city": "Basel"}]]')]
    first = bound.invoke(ask)
    assert [call["args"] for call in first.tool_calls] == [{"city": "Bern"}, {"city": "Basel"}]
    results = [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in first.tool_calls]
    assert len(bound.invoke([*ask, first, *results]).text.split()) == MOST


def test_its_streamed_tool_calls_add_up(chat: BaseChatModel) -> None:
    whole: Any = None
    for piece in chat.bind_tools([weather]).stream('[[call weather {"city": "Bern"}]]'):
        whole = piece if whole is None else whole + piece
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == [("weather", {"city": "Bern"})]


def test_it_answers_in_a_shape(chat: BaseChatModel) -> None:
    assert chat.with_structured_output(Ticket).invoke(ASKED) == Ticket(
        title="text", urgency="low", hours=1, tags=["text"]
    )

"""The hold is an upper bound, whatever a request hides or asks for."""

import httpx2 as httpx
import pytest

from gateway.admission import upper_usage
from gateway.dialects.anthropic import Anthropic
from gateway.dialects.dialect import FILE_TOKENS, IMAGE_TOKENS, SERVER_TOOL_TOKENS
from gateway.dialects.openai import OpenAI
from llmobs.pricing.cost import cost
from llmobs.pricing.price import Price, Rates
from llmobs.pricing.usage import Usage
from tests.gateway.running import Gateway

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"


def held(gateway: Gateway, http: httpx.Client, path: str, body: str) -> Usage:
    assert http.post(path, content=body.encode()).status_code == 200
    usage = gateway.begins()[-1].held_usage
    assert usage is not None
    return usage


def chat(content: str, rest: str = "") -> str:
    return f'{{"model":"gpt-4o-mini","max_tokens":10,"messages":[{{"role":"user","content":{content}}}]{rest}}}'


def message(content: str, rest: str = "") -> str:
    return f'{{"model":"claude-sonnet-4-5","max_tokens":10,"messages":[{{"role":"user","content":{content}}}]{rest}}}'


TEXT = '[{"type":"text","text":"hi","%s":{"type":"ephemeral"}}]'
PICTURE = '[{"type":"%s","source":{"type":"url","url":"https://x/y.png"}}]'


def test_a_cache_marker_written_in_escapes_counts(gateway: Gateway, http: httpx.Client) -> None:
    for name in ("cache_control", "cache\\u005fcontrol", "\\u0063ache_control"):
        usage = held(gateway, http, MESSAGES, message(TEXT % name))
        assert (usage.uncached_input, usage.cache_write_5m > 0) == (0, True)


def test_a_picture_by_reference_counts_however_its_name_is_written(gateway: Gateway, http: httpx.Client) -> None:
    for name in ("image", "im\\u0061ge"):
        assert held(gateway, http, MESSAGES, message(PICTURE % name)).input_tokens >= IMAGE_TOKENS


@pytest.mark.parametrize(
    "part", ['{"type":"file","file":{"file_id":"f-1"}}', '{"type":"file","file":{"file_data":"data:x;base64,AA=="}}']
)
def test_a_file_counts_as_much_as_one_can_be(gateway: Gateway, http: httpx.Client, part: str) -> None:
    assert held(gateway, http, CHAT, chat(f"[{part}]")).input_tokens >= FILE_TOKENS


@pytest.mark.parametrize(
    "rest",
    [
        ',"tools":[{"type":"web_search_20250305","name":"web_search"}]',
        ',"tools":[{"type":"code_execution_20250825","name":"code_execution"}]',
        ',"mcp_servers":[{"type":"url","url":"https://x","name":"x"}]',
    ],
)
def test_what_the_providers_own_tools_bring_into_the_input_counts(
    gateway: Gateway, http: httpx.Client, rest: str
) -> None:
    assert held(gateway, http, MESSAGES, message('"hi"', rest)).input_tokens >= SERVER_TOOL_TOKENS


def test_each_tool_that_the_provider_describes_counts(gateway: Gateway, http: httpx.Client) -> None:
    tools = ',"tools":[{"type":"bash_20250124","name":"bash"},{"type":"computer_20250124","name":"computer"}]'
    usage = held(gateway, http, MESSAGES, message('"hi"', tools))
    assert 3000 <= usage.input_tokens < 10_000


def test_rejected_tokens_of_a_prediction_count_as_output(gateway: Gateway, http: httpx.Client) -> None:
    usage = held(gateway, http, CHAT, chat('"hi"', ',"prediction":{"type":"content","content":"%s"}' % ("word " * 100)))
    assert usage.output >= 110


def test_the_ceiling_is_the_higher_of_both_limits_for_each_choice(gateway: Gateway, http: httpx.Client) -> None:
    usage = held(gateway, http, CHAT, chat('"hi"', ',"max_completion_tokens":70,"n":3'))
    assert usage.output == 210


def test_a_marker_does_not_make_a_call_cheaper_where_writing_the_cache_costs_less() -> None:
    price = Price("x", "m", "v", Rates(300, 30, 80, 80, 2500))
    asked = Anthropic().read(message(TEXT % "cache_control").encode())
    usage = upper_usage(asked, 1000, 10, price, asked.cache_write)
    plain = cost(Usage(uncached_input=1000, output=10), price)
    assert plain is not None
    assert (cost(usage, price) or 0) >= plain


@pytest.mark.parametrize("model", ["o3", "openai/gpt-5-mini", "gemini-2.5-pro", "grok-4", "x/deepseek-reasoner"])
def test_models_that_think_unseen_are_known_by_their_name(model: str) -> None:
    assert OpenAI().may_think(model)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4.1", "llama-3.3-70b", "foo3"])
def test_others_are_not(model: str) -> None:
    assert not OpenAI().may_think(model)

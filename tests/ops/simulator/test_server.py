"""The simulator as its callers see it: through the official SDKs, and raw where they hide what is sent."""

import json
import re
import socket
import time
from decimal import Decimal
from urllib.request import Request, urlopen

import anthropic
import openai
import pytest

from llmobs.evals.verdict import read_verdict, system_prompt, user_prompt
from llmobs.ops.simulator.faults import Faults
from llmobs.ops.simulator.running import Running

CRITERIA = ["helpful and actionable", "no invented facts"]


def bill_of(simulator: Running, detail: bool = False) -> dict[str, object]:
    with urlopen(f"{simulator.url}/bill{'?detail=1' if detail else ''}") as response:
        return dict(json.load(response))


def test_openai_answer_counts_words_and_has_exactly_max_tokens(openai_client: openai.OpenAI) -> None:
    completion = openai_client.chat.completions.create(
        model="gpt-4o-mini",
        max_tokens=25,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "one two"}, {"type": "text", "text": "three"}]},
        ],
    )
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (5, 25)
    assert len((completion.choices[0].message.content or "").split()) == 25


def test_openai_answers_sixty_four_tokens_unless_told(openai_client: openai.OpenAI) -> None:
    completion = openai_client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}]
    )
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 64


def test_max_completion_tokens_and_n_are_honoured(openai_client: openai.OpenAI) -> None:
    completion = openai_client.chat.completions.create(
        model="gpt-4o-mini", max_completion_tokens=7, n=3, messages=[{"role": "user", "content": "hello"}]
    )
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 21
    assert [len((choice.message.content or "").split()) for choice in completion.choices] == [7, 7, 7]


def test_anthropic_counts_system_blocks_and_tool_results(anthropic_client: anthropic.Anthropic) -> None:
    message = anthropic_client.messages.create(
        model="claude-sonnet-4-5",
        max_tokens=12,
        system=[{"type": "text", "text": "Be brief now."}],
        messages=[
            {"role": "user", "content": "What time?"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "clock", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "ten o'clock"}]}
                ],
            },
        ],
    )
    assert (message.usage.input_tokens, message.usage.output_tokens) == (7, 12)


def test_openai_stream_tells_usage_only_when_asked(openai_client: openai.OpenAI) -> None:
    def stream(include_usage: bool) -> tuple[int, list[int | None]]:
        words, usages = 0, []
        for chunk in openai_client.chat.completions.create(
            model="gpt-4o-mini",
            max_tokens=33,
            stream=True,
            stream_options={"include_usage": include_usage},
            messages=[{"role": "user", "content": "hello there"}],
        ):
            words += sum(len((choice.delta.content or "").split()) for choice in chunk.choices)
            usages.append(chunk.usage.completion_tokens if chunk.usage else None)
        return words, [usage for usage in usages if usage is not None]

    assert stream(include_usage=True) == (33, [33])
    assert stream(include_usage=False) == (33, [])


def test_a_chunk_has_ten_tokens_or_more(openai_client: openai.OpenAI) -> None:
    chunks = openai_client.chat.completions.create(
        model="gpt-4o-mini", max_tokens=59, stream=True, messages=[{"role": "user", "content": "hello"}]
    )
    sizes = [len((chunk.choices[0].delta.content or "").split()) for chunk in chunks if chunk.choices]
    assert [size for size in sizes if size] == [10, 10, 10, 10, 19]


def test_anthropic_stream_has_the_events_in_their_order(simulator: Running) -> None:
    body = {"model": "claude-sonnet-4-5", "max_tokens": 21, "stream": True, "messages": [_user("hello there")]}
    with urlopen(Request(f"{simulator.url}/v1/messages", json.dumps(body).encode())) as response:
        text = response.read().decode()
    names = re.findall(r"^event: (\w+)$", text, re.MULTILINE)
    events = [json.loads(line) for line in re.findall(r"^data: (.+)$", text, re.MULTILINE)]
    assert names == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"]["usage"]["input_tokens"] == 2
    assert events[-2]["usage"]["output_tokens"] == 21


def test_the_anthropic_sdk_reads_the_stream(anthropic_client: anthropic.Anthropic) -> None:
    with anthropic_client.messages.stream(
        model="claude-sonnet-4-5", max_tokens=21, messages=[{"role": "user", "content": "hello there"}]
    ) as stream:
        message = stream.get_final_message()
    assert (message.usage.input_tokens, message.usage.output_tokens) == (2, 21)
    assert len("".join(block.text for block in message.content if block.type == "text").split()) == 21


def test_ids_and_answers_are_fresh(openai_client: openai.OpenAI) -> None:
    answers = [
        openai_client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}])
        for _ in range(3)
    ]
    assert len({answer.id for answer in answers}) == 3
    assert len({answer.choices[0].message.content for answer in answers}) == 3


def test_a_judge_gets_a_valid_verdict_that_is_always_the_same(openai_client: openai.OpenAI) -> None:
    def ask() -> openai.types.chat.ChatCompletion:
        return openai_client.chat.completions.create(
            model="gpt-4o-mini",
            max_tokens=2048,
            messages=[
                {"role": "system", "content": system_prompt(CRITERIA)},
                {"role": "user", "content": user_prompt("Where is my parcel?", "On its way.")},
            ],
        )

    first, second = ask(), ask()
    text = first.choices[0].message.content or ""
    verdict = read_verdict(text, CRITERIA)
    assert text == second.choices[0].message.content
    assert verdict.verdict == ("PASS" if verdict.overall >= 7 else "FAIL")
    assert first.usage is not None
    assert first.usage.completion_tokens == len(text.split())


def test_the_bill_adds_up_at_list_prices(
    simulator: Running, openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic
) -> None:
    openai_client.chat.completions.create(model="gpt-4o-mini", max_tokens=44, messages=[_user("word " * 374)])
    anthropic_client.messages.create(model="claude-sonnet-4-5", max_tokens=10, messages=[_user("word " * 4808)])
    bill = bill_of(simulator)
    # 374 x 0.15 + 44 x 0.60, and 4808 x 3 + 10 x 15, in USD per million
    assert Decimal(str(bill["cost_usd"])) == Decimal("0.0000825") + Decimal("0.014574")
    assert (bill["requests"], bill["input_tokens"], bill["output_tokens"]) == (2, 5182, 54)


def test_the_bill_takes_the_tier_of_a_long_context(simulator: Running) -> None:
    simulator.bill.open("msg_long", "anthropic", "claude-sonnet-4-5", 200_001).send(100)
    # 200,001 x 6 + 100 x 22.50 USD per million
    assert bill_of(simulator)["cost_usd"] == "1.202256"


def test_a_model_without_a_price_is_unpriced_not_free(simulator: Running, openai_client: openai.OpenAI) -> None:
    openai_client.chat.completions.create(model="no-such-model", messages=[_user("hello")])
    bill = bill_of(simulator, detail=True)
    (line,) = dict(bill["responses"]).values()  # type: ignore[call-overload]
    assert (bill["unpriced_requests"], line["cost_usd"]) == (1, None)


def test_the_detailed_bill_names_each_response(simulator: Running, openai_client: openai.OpenAI) -> None:
    completion = openai_client.chat.completions.create(
        model="gpt-4o-mini", max_tokens=44, messages=[_user("word " * 374)]
    )
    assert bill_of(simulator, detail=True)["responses"] == {
        completion.id: {
            "model": "gpt-4o-mini",
            "input_tokens": 374,
            "output_tokens": 44,
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cost_usd": "0.0000825",
        }
    }


def test_a_caller_that_leaves_pays_for_what_was_sent(simulator: Running) -> None:
    body = json.dumps(
        {"model": "gpt-4o-mini", "max_tokens": 2000, "stream": True, "messages": [_user("one two three")]}
    ).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nx-simulate: chunk_ms=5\r\ncontent-length: %d\r\n\r\n" % len(body)
    address = simulator.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as caller:
        caller.sendall(head + body)
        received = b""
        while received.count(b'"content":"') < 4:
            received += caller.recv(65536)
    _wait_until_all_left(simulator)
    bill = bill_of(simulator)
    assert 30 <= int(str(bill["output_tokens"])) < 2000
    assert bill["input_tokens"] == 3


def test_a_cut_stream_breaks_off_half_way_and_is_billed_so(simulator: Running) -> None:
    simulator.simulator.faults = Faults(cut=True)
    with (
        openai.OpenAI(base_url=f"{simulator.url}/v1", api_key="any", max_retries=0) as client,
        pytest.raises(openai.APIConnectionError),
    ):
        list(client.chat.completions.create(model="gpt-4o-mini", max_tokens=100, stream=True, messages=[_user("hi")]))
    assert bill_of(simulator)["output_tokens"] == 50


def test_a_scripted_status_has_the_providers_own_error(
    simulator: Running, openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic
) -> None:
    with pytest.raises(openai.RateLimitError) as limited:
        openai_client.chat.completions.create(
            model="gpt-4o-mini", messages=[_user("hello")], extra_headers={"x-simulate": "status=429"}
        )
    with pytest.raises(anthropic.APIStatusError) as overloaded:
        anthropic_client.messages.create(
            model="claude-sonnet-4-5", max_tokens=5, messages=[_user("[[simulate status=529]] hello")]
        )
    assert limited.value.code == "rate_limit_exceeded"
    assert limited.value.response.headers["retry-after"] == "1"
    assert overloaded.value.status_code == 529
    assert overloaded.value.body["error"]["type"] == "overloaded_error"  # type: ignore[index]
    assert bill_of(simulator)["requests"] == 0


def test_a_share_of_the_calls_fails_when_told(simulator: Running, openai_client: openai.OpenAI) -> None:
    simulator.simulator.faults = Faults(fail_rate=0.5, status=503)
    failed = 0
    for _ in range(20):
        try:
            openai_client.chat.completions.create(model="gpt-4o-mini", messages=[_user("hello")])
        except openai.InternalServerError:
            failed += 1
    assert 0 < failed < 20
    assert bill_of(simulator)["requests"] == 20 - failed


@pytest.mark.parametrize("bad", [{"max_tokens": -1}, {"max_tokens": 10**12}, {"n": 0}, {"messages": []}])
def test_a_request_that_cannot_be_is_refused(openai_client: openai.OpenAI, bad: dict[str, object]) -> None:
    with pytest.raises(openai.BadRequestError):
        openai_client.post(
            "/chat/completions",
            body={"model": "gpt-4o-mini", "messages": [_user("hello")]} | bad,
            cast_to=object,
        )


def test_a_misspelt_directive_is_refused(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="statsu"):
        openai_client.chat.completions.create(
            model="gpt-4o-mini", messages=[_user("hello")], extra_headers={"x-simulate": "statsu=500"}
        )


def test_any_base_path_is_served(simulator: Running) -> None:
    with openai.OpenAI(base_url=f"{simulator.url}/some/base", api_key="any") as client:
        client.chat.completions.create(model="gpt-4o-mini", messages=[_user("hello")])
    assert bill_of(simulator)["requests"] == 1


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _wait_until_all_left(simulator: Running) -> None:
    deadline = time.monotonic() + 5
    while simulator.simulator.connections and time.monotonic() < deadline:
        time.sleep(0.001)

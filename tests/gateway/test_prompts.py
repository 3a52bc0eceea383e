"""Registered prompts through the gateway: rendered by header into each format, assigned, refused by name."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest
from django.db import connection

from llmobs.prompts import changes
from llmobs.prompts.content import Content
from llmobs.prompts.models import Prompt
from llmobs.tenants.models import Tenant
from tests.gateway.far_end import FarEnd, answering, json_response
from tests.gateway.running import Gateway
from tests.gateway.world import World

MODEL, CLAUDE = "gpt-4o-mini", "claude-sonnet-4-5"
ACTOR = "tests"
TURNS = [
    {"role": "system", "content": "Answer {{name}}, {{tone}}."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello {{name}}"},
]
VARIABLES = {"name": "Ada"}
ASK: list[Any] = [{"role": "user", "content": "why?"}]
CHAT = json_response(
    b'{"id":"c1","object":"chat.completion","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"so"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}'
)
MESSAGE = json_response(
    b'{"id":"m1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"text","text":"so"}'
    b'],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}'
)
Place = Callable[[bytes], AbstractContextManager[FarEnd]]


@pytest.fixture
def far(gateway: Gateway, world: World) -> Place:
    """Puts a far end in the place of both providers."""

    @contextmanager
    def place(answer: bytes) -> Iterator[FarEnd]:
        with answering(answer) as far_end:
            world.pg.execute("UPDATE providers_provider SET base_url = %s", (far_end.url,))
            gateway.wait_for_config(world.version())
            yield far_end

    return place


@pytest.fixture
def make(gateway: Gateway, world: World, tenant: int) -> Iterator[Callable[..., Prompt]]:
    """Makes a prompt of the tenant, known to the gateway when it returns."""

    def made(*versions: list[dict[str, str]], name: str = "greet", tenant_id: int = tenant, **fields: Any) -> Prompt:
        contents = [
            Content(messages, fields.get("model", ""), fields.get("params", {}), {"tone": "kindly"})
            for messages in (versions or (TURNS,))
        ]
        prompt = changes.make(Tenant.objects.get(pk=tenant_id), name, contents[0], ACTOR)
        for content in contents[1:]:
            changes.add_version(prompt, content, ACTOR)
        gateway.wait_for_config(world.version())
        return prompt

    yield made
    connection.close()


def sent(far_end: FarEnd) -> dict[str, Any]:
    """The body of the last request that the provider got."""
    body: dict[str, Any] = json.loads(far_end.requests[-1].partition(b"\r\n\r\n")[2])
    return body


def said(system: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}]


# ---------------------------------------------------------------- rendered into each format


def test_a_prompt_stands_before_the_callers_messages_in_a_chat(
    gateway: Gateway, secret: str, far: Place, make: Callable[..., Prompt]
) -> None:
    """S0-51: the official SDK names a prompt by header, its variables by metadata."""
    make()
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0)
    with far(CHAT) as far_end:
        answer = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "developer", "content": "mine"}, *ASK],
            metadata={"variables": VARIABLES},  # type: ignore[dict-item]
            extra_headers={"x-llmobs-prompt": "greet"},
        )
        body = sent(far_end)
    assert answer.choices[0].message.content == "so"
    assert body["messages"] == [
        {"role": "system", "content": "Answer Ada, kindly."},
        {"role": "developer", "content": "mine"},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello Ada"},
        *ASK,
    ]
    assert "metadata" not in body
    gateway.end()
    assert gateway.begins()[0].prompt_version == "greet@1"


def test_a_prompt_stands_before_the_callers_words_in_a_message(
    gateway: Gateway, secret: str, far: Place, make: Callable[..., Prompt]
) -> None:
    """S0-51: in Anthropic's format the system's text stands apart, the caller's after it."""
    make()
    client = anthropic.Anthropic(base_url=gateway.url, api_key=secret, max_retries=0)
    with far(MESSAGE) as far_end:
        answer = client.messages.create(
            model=CLAUDE,
            max_tokens=20,
            system="mine",
            messages=ASK,
            extra_headers={"x-llmobs-prompt": "greet@1"},
            extra_body={"metadata": {"user_id": "u1", "variables": VARIABLES}},
        )
        body = sent(far_end)
    assert answer.content[0].type == "text"
    assert body["system"] == "Answer Ada, kindly.\n\nmine"
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello Ada"}]
    assert body["messages"] == [*turns, *ASK]
    assert body["metadata"] == {"user_id": "u1"}


def test_a_callers_system_blocks_keep_their_cache_markers(http: httpx.Client, far: Place, make: Any) -> None:
    make(said("Be {{tone}}."))
    block = {"type": "text", "text": "mine", "cache_control": {"type": "ephemeral"}}
    request = {"model": CLAUDE, "max_tokens": 9, "system": [block], "messages": ASK}
    with far(MESSAGE) as far_end:
        assert http.post("/v1/messages", json=request, headers={"x-llmobs-prompt": "greet"}).status_code == 200
        assert sent(far_end)["system"] == [{"type": "text", "text": "Be kindly."}, block]


def test_a_stream_is_rendered_alike(gateway: Gateway, secret: str, make: Callable[..., Prompt]) -> None:
    make()
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0)
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=ASK,
            max_tokens=20,
            stream=True,
            extra_headers={"x-llmobs-prompt": "greet"},
            extra_body={"metadata": {"variables": VARIABLES}},
        )
    )
    assert chunks
    assert gateway.usage().uncached_input == 7  # words: the prompt's six and the caller's one
    assert gateway.begins()[0].prompt_version == "greet@1"


# ---------------------------------------------------------------- what a request may leave to the prompt


@pytest.mark.parametrize("left_out", [{}, {"model": "auto"}, {"model": "auto", "messages": []}])
def test_a_request_may_leave_model_and_messages_to_the_prompt(
    http: httpx.Client, far: Place, make: Callable[..., Prompt], left_out: dict[str, Any]
) -> None:
    make([{"role": "user", "content": "Hi {{tone}}"}], model=MODEL, params={"temperature": 0.1, "max_tokens": 50})
    with far(CHAT) as far_end:
        answer = http.post("/v1/chat/completions", json=left_out, headers={"x-llmobs-prompt": "greet"})
        assert answer.status_code == 200, answer.text
        assert sent(far_end) == {
            "model": MODEL, "messages": [{"role": "user", "content": "Hi kindly"}],
            "temperature": 0.1, "max_tokens": 50,
        }  # fmt: skip


def test_what_the_request_says_goes_before_the_prompt(
    http: httpx.Client, far: Place, make: Callable[..., Prompt]
) -> None:
    make(said("x"), model="gpt-4o", params={"temperature": 0.1, "max_tokens": 50, "top_p": 0.5})
    request = {"model": MODEL, "messages": ASK, "temperature": 1, "max_completion_tokens": 7}
    with far(CHAT) as far_end:
        http.post("/v1/chat/completions", json=request, headers={"x-llmobs-prompt": "greet"}).raise_for_status()
        body = sent(far_end)
    assert (body["model"], body["temperature"], body["max_completion_tokens"]) == (MODEL, 1, 7)
    assert body["top_p"] == 0.5
    assert "max_tokens" not in body


def test_the_prompts_ceiling_is_the_messages_own(http: httpx.Client, far: Place, make: Callable[..., Prompt]) -> None:
    make([{"role": "user", "content": "Hi"}], model=CLAUDE, params={"max_completion_tokens": 33})
    with far(MESSAGE) as far_end:
        answer = http.post("/v1/messages", json={}, headers={"x-llmobs-prompt": "greet"})
        assert answer.status_code == 200, answer.text
        assert sent(far_end)["max_tokens"] == 33


def test_without_the_header_the_body_passes_untouched(http: httpx.Client, far: Place, make: Any) -> None:
    make()
    body = (
        b'{"model": "gpt-4o-mini", "messages": [{"role":"user","content":"{{name}}"}], "metadata": {"variables": {}}}'
    )
    with far(CHAT) as far_end:
        http.post("/v1/chat/completions", content=body).raise_for_status()
        assert far_end.requests[-1].endswith(body)


def test_variables_may_come_as_the_json_of_an_object(http: httpx.Client, far: Place, make: Any) -> None:
    """OpenAI's metadata holds texts alone, and typed clients hold to that."""
    make(said("Answer {{name}}."))
    request = {"model": MODEL, "messages": ASK, "metadata": {"variables": json.dumps(VARIABLES)}}
    with far(CHAT) as far_end:
        http.post("/v1/chat/completions", json=request, headers={"x-llmobs-prompt": "greet"}).raise_for_status()
        assert sent(far_end) == {"model": MODEL, "messages": [*said("Answer Ada."), *ASK]}


def test_a_variable_cannot_put_in_a_message_or_a_field(http: httpx.Client, far: Place, make: Any) -> None:
    """S0-51: what a caller's user wrote stays text, in JSON too."""
    make(said("Answer {{name}}."))
    wrong = '"}], "model": "gpt-4o", "x": [{"y": "{{tone}}'
    request = {"model": MODEL, "messages": ASK, "metadata": {"variables": {"name": wrong}, "team": "a"}}
    with far(CHAT) as far_end:
        http.post("/v1/chat/completions", json=request, headers={"x-llmobs-prompt": "greet"}).raise_for_status()
        body = sent(far_end)
    assert body["messages"][0]["content"] == f"Answer {wrong}."
    assert set(body) == {"model", "messages", "metadata"}
    assert body["metadata"] == {"team": "a"}


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("named", "said_so"),
    [
        ("nobody", "there is no prompt 'nobody'"),
        ("greet@9", "no version or label '9'"),
        ("greet@staging", "no version or label 'staging'"),
        ("theirs", "there is no prompt 'theirs'"),
        ("greet", "the prompt greet@1: the variable 'name' has no value"),
    ],
)
def test_what_is_not_there_is_named_and_nothing_is_sent(
    http: httpx.Client, gateway: Gateway, world: World, make: Callable[..., Prompt], named: str, said_so: str
) -> None:
    make(said("Answer {{name}}, {{tone}}."))
    make(said("x"), name="theirs", tenant_id=world.tenant("globex"))
    request = {"model": MODEL, "messages": ASK}
    answer = http.post("/v1/chat/completions", json=request, headers={"x-llmobs-prompt": named})
    assert (answer.status_code, answer.headers["x-llmobs-reason"]) == (400, "invalid_request")
    assert said_so in answer.json()["error"]["message"]
    assert not gateway.begins()


@pytest.mark.parametrize(
    ("path", "request_body", "said_so"),
    [
        ("/v1/chat/completions", {"messages": ASK}, "model"),
        ("/v1/chat/completions", {"model": MODEL, "messages": ["x"]}, "valid request"),
        ("/v1/chat/completions", {"model": MODEL, "messages": ASK, "metadata": {"variables": 3}}, "is no object"),
        ("/v1/chat/completions", {"model": MODEL, "messages": ASK, "metadata": "x"}, "valid request"),
        ("/v1/messages", {"model": CLAUDE, "messages": [], "max_tokens": 5}, "messages"),
    ],
)
def test_a_request_that_no_prompt_makes_whole_is_refused(
    http: httpx.Client, make: Callable[..., Prompt], path: str, request_body: dict[str, Any], said_so: str
) -> None:
    make(said("Be {{tone}}."))
    answer = http.post(path, json=request_body, headers={"x-llmobs-prompt": "greet"})
    assert (answer.status_code, answer.headers["x-llmobs-reason"]) == (400, "invalid_request"), answer.text
    assert said_so in answer.json()["error"]["message"]


# ---------------------------------------------------------------- A/B


def test_a_test_assigns_by_user_and_the_span_says_which(
    http: httpx.Client, gateway: Gateway, world: World, make: Callable[..., Prompt]
) -> None:
    """S2-20: one user always gets one version; S0-51: the call's span names it."""
    prompt = make(said("one"), said("two"))
    changes.start_test(prompt, [(2, None)], ACTOR)
    gateway.wait_for_config(world.version())

    def ask(**headers: str) -> None:
        request = {"model": MODEL, "messages": ASK, "max_tokens": 1}
        http.post("/v1/chat/completions", json=request, headers={"x-llmobs-prompt": "greet", **headers})

    for _ in range(2):
        for number in range(12):
            ask(**{"x-llmobs-user": f"user-{number}"})
    begins = gateway.begins()
    by_user: dict[str, set[str]] = {}
    for begin in begins:
        by_user.setdefault(begin.attribution.user_id, set()).add(begin.prompt_version)
    assert len(by_user) == 12
    assert all(len(versions) == 1 for versions in by_user.values())
    assert {begin.prompt_version for begin in begins} == {"greet@1", "greet@2"}

    for _ in range(4):
        ask(**{"x-llmobs-session": "s1"})
    assert len({begin.prompt_version for begin in gateway.begins() if begin.attribution.session_id == "s1"}) == 1


def test_promotion_labels_and_rollback_reach_the_next_call(
    http: httpx.Client, gateway: Gateway, world: World, far: Place, make: Callable[..., Prompt]
) -> None:
    """S2-19, S2-22: the name is the current version, wherever it has moved."""
    prompt = make(said("one"), said("two"))

    def answered_by(named: str = "greet") -> str:
        gateway.wait_for_config(world.version())
        request = {"model": MODEL, "messages": ASK}
        http.post("/v1/chat/completions", json=request, headers={"x-llmobs-prompt": named}).raise_for_status()
        content: str = sent(far_end)["messages"][0]["content"]
        return content

    with far(CHAT) as far_end:
        assert answered_by() == "one"
        changes.set_label(prompt, "production", 2, ACTOR)
        assert answered_by("greet@production") == "two"
        changes.start_test(prompt, [(2, 100)], ACTOR, 0)
        assert answered_by() == "two"
        assert answered_by("greet@current") == "one"
        changes.promote(prompt, 2, ACTOR)
        assert answered_by() == "two"
        changes.roll_back(prompt, ACTOR)
        assert answered_by() == "one"


# ---------------------------------------------------------------- cached answers


def test_a_promoted_version_is_never_answered_by_the_old_ones_cache(
    http: httpx.Client, gateway: Gateway, world: World, make: Callable[..., Prompt]
) -> None:
    """S4-12, S4-13: answers are kept by prompt version, so an upgrade leaves all of the old ones behind.

    Both versions say the same, so that nothing but the version tells their requests apart.
    """
    prompt = make(said("same"))
    changes.add_version(prompt, Content(said("same"), variables={"tone": "curt"}), ACTOR)

    def cache() -> str:
        gateway.wait_for_config(world.version())
        headers = {"x-llmobs-prompt": "greet", "x-llmobs-cache": "exact"}
        request = {"model": MODEL, "messages": ASK, "max_tokens": 5}
        answer = http.post("/v1/chat/completions", json=request, headers=headers)
        assert answer.status_code == 200, answer.text
        gateway.wait_until(gateway.is_quiet, "the answer is kept")
        return str(answer.headers["x-llmobs-cache"])

    assert cache() == "miss"
    gateway.wait_until(lambda: cache() == "hit-exact", "the same version is answered from the cache")
    changes.start_test(prompt, [(2, None)], ACTOR)
    changes.promote(prompt, 2, ACTOR)
    assert cache() == "miss"
    changes.roll_back(prompt, ACTOR)
    assert cache() == "hit-exact"
    changes.set_label(prompt, "production", 2, ACTOR)
    assert cache() == "hit-exact"

"""The response cache through the gateway: hits as answers and streams, what is kept and forgotten, at what cost."""

from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest
import redis

from llmobs.cache import status
from llmobs.ingest.entries import Called
from llmobs.ops.simulator.running import Running
from tests.gateway.running import Gateway
from tests.gateway.world import World

PROMPT: list[Any] = [{"role": "user", "content": "one two three four five"}]
BODY: dict[str, Any] = {"model": "gpt-4o-mini", "messages": PROMPT, "max_tokens": 7}
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
EXACT = {"x-llmobs-cache": "exact"}


def requests(simulator: Running) -> int:
    return int(str(simulator.bill.as_dict(False)["requests"]))


def ask(http: httpx.Client, path: str = CHAT, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    response = http.post(path, json={**BODY, **fields}, headers={**EXACT, **(headers or {})})
    assert response.status_code == 200, response.text
    return response


def cache_of(response: httpx.Response) -> str:
    return str(response.headers["x-llmobs-cache"])


def called(gateway: Gateway) -> list[Called]:
    return [entry for entry in gateway.entries() if isinstance(entry, Called)]


def grow_older(valkey: redis.Redis, seconds: int) -> None:
    """As if all had been stored so much earlier."""
    for key in valkey.scan_iter("llm:*"):
        valkey.hincrby(key, "at", -seconds)


# ---------------------------------------------------------------- hits


def test_the_same_request_is_answered_once_by_the_provider(http: httpx.Client, simulator: Running) -> None:
    """S0-12, S2-11: the stored answer, said to be so, without tokens and cost, with an id of its own."""
    first, second = ask(http), ask(http)
    assert (cache_of(first), cache_of(second), requests(simulator)) == ("miss", "hit-exact", 1)
    assert second.json()["choices"] == first.json()["choices"]
    assert second.json()["id"] != first.json()["id"]
    assert second.json()["usage"]["total_tokens"] == 0
    assert (second.headers["x-llmobs-cost-usd"], second.headers["x-llmobs-attempts"]) == ("0", "0")
    assert (second.headers["x-llmobs-provider"], second.headers["x-llmobs-model"]) == ("openai", "gpt-4o-mini")
    assert int(second.headers["age"]) <= 1


def test_the_sdks_read_hits_in_both_formats(gateway: Gateway, secret: str, simulator: Running) -> None:
    chat = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0, default_headers=EXACT)
    messages = anthropic.Anthropic(base_url=gateway.url, api_key=secret, max_retries=0, default_headers=EXACT)
    completions = [chat.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, max_tokens=7) for _ in range(2)]
    replies = [messages.messages.create(model="claude-sonnet-4-5", messages=PROMPT, max_tokens=7) for _ in range(2)]
    assert completions[0].choices == completions[1].choices
    assert replies[0].content == replies[1].content
    assert (replies[1].usage.input_tokens, replies[1].usage.output_tokens) == (0, 0)
    assert (completions[1].id[:9], replies[1].id[:4]) == ("chatcmpl-", "msg_")
    assert requests(simulator) == 2


def test_a_streams_answer_is_a_hit_for_a_whole_one_and_the_other_way(
    gateway: Gateway, secret: str, simulator: Running
) -> None:
    chat = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0, default_headers=EXACT)
    texts = []
    for is_stream in (True, False, True):
        answer: Any = chat.chat.completions.create(
            model="gpt-4o-mini", messages=PROMPT, max_tokens=35, stream=is_stream
        )
        if is_stream:
            texts.append("".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices))
        else:
            texts.append(answer.choices[0].message.content)
    assert texts[0] == texts[1] == texts[2] != ""
    assert requests(simulator) == 1


def test_anthropic_streams_from_the_cache_too(gateway: Gateway, secret: str, simulator: Running) -> None:
    messages = anthropic.Anthropic(base_url=gateway.url, api_key=secret, max_retries=0, default_headers=EXACT)
    texts = []
    for _ in range(2):
        with messages.messages.stream(model="claude-sonnet-4-5", messages=PROMPT, max_tokens=35) as stream:
            texts.append(stream.get_final_text())
    assert texts[0] == texts[1] != ""
    assert requests(simulator) == 1


def test_a_hit_is_a_span_without_cost_that_tells_what_was_saved(http: httpx.Client, gateway: Gateway) -> None:
    """S3-26, S2-11: tokens and money saved are recorded."""
    ask(http)
    hit = ask(http)
    [entry] = gateway.wait_until(lambda: called(gateway), "the hit's own entry")
    assert (entry.cache, entry.attempts, entry.status, entry.response_id) == ("hit-exact", 0, "ok", hit.json()["id"])
    assert (entry.saved_input_tokens, entry.saved_output_tokens) == (5, 7)
    assert entry.saved_nanousd == 5 * 150 + 7 * 600
    assert (entry.provider_name, entry.model, entry.request_model) == ("openai", "gpt-4o-mini", "gpt-4o-mini")
    assert len(gateway.begins()) == 1


def test_a_hit_holds_nothing_of_a_budget_that_is_spent(
    http: httpx.Client, gateway: Gateway, world: World, budget: int, valkey: redis.Redis
) -> None:
    """S3-25: the exact look-up comes first, before anything is held."""
    ask(http)
    gateway.wait_until(lambda: world.ledger()["held"] == 0, "the hold is settled")
    spent = world.ledger()
    world.pg.execute("UPDATE budgets_budget SET limit_nanousd = 0 WHERE id = %s", (budget,))
    gateway.wait_for_config(world.version())
    assert cache_of(ask(http)) == "hit-exact"
    assert http.post(CHAT, json={**BODY, "max_tokens": 8}, headers=EXACT).status_code == 429
    assert world.ledger() == spent


# ---------------------------------------------------------------- whether


def test_without_being_asked_nothing_is_cached(http: httpx.Client, simulator: Running, valkey: redis.Redis) -> None:
    """Off is the default."""
    answers = [http.post(CHAT, json=BODY) for _ in range(2)]
    assert [cache_of(answer) for answer in answers] == ["off", "off"]
    assert (requests(simulator), valkey.keys("llm:*"), valkey.keys("cache:*")) == (2, [], [])


def test_the_header_wins_over_the_key_and_the_key_over_the_tenant(
    http: httpx.Client, gateway: Gateway, world: World
) -> None:
    """S0-10, S2-10: switched on in configuration, and off by request."""

    def answered(tenant: str, key: str, header: str | None) -> str:
        world.pg.execute("UPDATE tenants_tenant SET cache = %s", (tenant,))
        world.pg.execute("UPDATE tenants_key SET cache = %s", (key,))
        gateway.wait_for_config(world.version())
        return cache_of(http.post(CHAT, json=BODY, headers={"x-llmobs-cache": header} if header else {}))

    assert answered("exact", "off", None) == "off"
    assert answered("exact", "", "off") == "off"
    assert answered("exact", "", None) == "miss"
    assert answered("off", "exact", None) == "hit-exact"
    assert answered("off", "off", "exact") == "hit-exact"
    assert answered("off", "", None) == "off"


@pytest.mark.parametrize("content", ["none", "hash"])
def test_a_tenant_that_keeps_no_content_must_ask_by_key_or_header(
    http: httpx.Client, gateway: Gateway, world: World, content: str
) -> None:
    world.pg.execute("UPDATE tenants_tenant SET cache = 'exact', content = %s", (content,))
    world.pg.execute("UPDATE tenants_key SET cache = ''")
    gateway.wait_for_config(world.version())
    assert cache_of(http.post(CHAT, json=BODY)) == "off"
    assert cache_of(ask(http)) == "miss"


def test_refresh_asks_the_provider_and_stores_anew(http: httpx.Client, simulator: Running) -> None:
    """S2-10: per request."""
    ask(http)
    fresh = ask(http, headers={"x-llmobs-cache": "refresh"})
    assert (cache_of(fresh), requests(simulator)) == ("miss", 2)
    assert ask(http).json()["choices"] == fresh.json()["choices"]
    assert requests(simulator) == 2


@pytest.mark.parametrize("header", ["semantic", "sometimes"])
def test_a_header_that_asks_for_what_is_not_there_is_refused(http: httpx.Client, header: str) -> None:
    response = http.post(CHAT, json=BODY, headers={"x-llmobs-cache": header})
    assert (response.status_code, response.headers["x-llmobs-reason"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "change", [{"max_tokens": 8}, {"temperature": 0.5}, {"seed": 3}, {"messages": [{"role": "user", "content": "six"}]}]
)
def test_another_request_is_another_answer(http: httpx.Client, simulator: Running, change: dict[str, Any]) -> None:
    """S3-22, S4-10, trap: a key without these brings wrong hits."""
    ask(http)
    assert cache_of(ask(http, **change)) == "miss"
    assert requests(simulator) == 2


def test_another_tenant_asks_the_provider_itself(
    http: httpx.Client, gateway: Gateway, world: World, simulator: Running
) -> None:
    """S4-11, trap: no answer crosses tenants."""
    _, other = world.key(world.tenant("globex"))
    gateway.wait_for_config(world.version())
    ask(http)
    assert cache_of(ask(http, headers={"authorization": f"Bearer {other}"})) == "miss"
    assert requests(simulator) == 2


def test_an_entry_put_under_another_tenants_name_is_no_answer(
    http: httpx.Client, gateway: Gateway, world: World, valkey: redis.Redis, tenant: int
) -> None:
    """Trap: even where Valkey's keys are mixed up, an entry says whose it is."""
    other_id = world.tenant("globex")
    _, other = world.key(other_id)
    gateway.wait_for_config(world.version())
    ask(http)
    ask(http, headers={"authorization": f"Bearer {other}"})
    [mine], [theirs] = (valkey.keys(f"llm:{{{tenant_id}}}:*") for tenant_id in (tenant, other_id))
    valkey.hset(theirs, "blob", valkey.hget(mine, "blob"))
    answer = ask(http, headers={"authorization": f"Bearer {other}"})
    assert cache_of(answer) == "miss"
    assert cache_of(ask(http, headers={"authorization": f"Bearer {other}"})) == "hit-exact", "mended by a new answer"


def test_no_text_rests_in_valkey_in_plain(http: httpx.Client, valkey: redis.Redis) -> None:
    said = ask(http).json()["choices"][0]["message"]["content"].encode()
    [key] = valkey.keys("llm:*")
    assert all(said not in value and b"three" not in value for value in valkey.hgetall(key).values())


# ---------------------------------------------------------------- how long, and what is not kept


def test_a_features_own_time_to_live(http: httpx.Client, gateway: Gateway, world: World, valkey: redis.Redis) -> None:
    """S0-48, S0-14, S4-13: by volatility; what is live is not cached at all."""
    world.pg.execute("""UPDATE tenants_tenant SET cache_ttl_seconds = '{"faq": 172800, "news": 0}'""")
    gateway.wait_for_config(world.version())
    for feature, age, expected in (("faq", 172_000, "hit-exact"), ("", 3590, "hit-exact"), ("", 3610, "miss")):
        valkey.flushdb()
        ask(http, headers={"x-llmobs-feature": feature})
        grow_older(valkey, age)
        assert cache_of(ask(http, headers={"x-llmobs-feature": feature})) == expected, (feature, age)
    assert cache_of(ask(http, headers={"x-llmobs-feature": "news"})) == "off"


@pytest.mark.parametrize("directive", ["status=500", "status=429", "error200", "garbage", "drop"])
def test_an_error_is_not_kept(http: httpx.Client, gateway: Gateway, valkey: redis.Redis, directive: str) -> None:
    """S2-10: only successful answers are cached."""
    body = {**BODY, "messages": [{"role": "user", "content": f"[[simulate {directive}]] one"}]}
    assert http.post(CHAT, json=body, headers=EXACT).status_code >= 400
    gateway.wait_until(gateway.is_quiet, "the call has ended")
    assert valkey.keys("llm:*") == []
    assert not valkey.keys("cache:*flight*")


def test_a_stream_that_was_cut_is_not_kept(http: httpx.Client, gateway: Gateway, valkey: redis.Redis) -> None:
    messages = [{"role": "user", "content": "[[simulate cut]] one"}]
    http.post(CHAT, json={**BODY, "messages": messages, "stream": True, "max_tokens": 60}, headers=EXACT)
    gateway.end()
    assert valkey.keys("llm:*") == []


def test_the_providers_version_of_the_format_is_part_of_the_request(http: httpx.Client, simulator: Running) -> None:
    body = {**BODY, "model": "claude-sonnet-4-5"}
    for beta in ("", "one-2026", "one-2026", "other-2026"):
        http.post(MESSAGES, json=body, headers={**EXACT, **({"anthropic-beta": beta} if beta else {})})
    assert requests(simulator) == 3


def test_a_route_that_was_changed_is_another_route(
    http: httpx.Client, gateway: Gateway, world: World, providers: dict[str, int], simulator: Running
) -> None:
    """S4-13: bound to the model's version."""
    world.route("smart", (providers["openai"], "gpt-4o-mini"))
    gateway.wait_for_config(world.version())
    ask(http, model="smart")
    assert cache_of(ask(http, model="smart")) == "hit-exact"
    world.pg.execute("UPDATE providers_candidate SET model = 'gpt-4o'")
    gateway.wait_for_config(world.version())
    assert cache_of(ask(http, model="smart")) == "miss"


@pytest.mark.parametrize("name", ["tenant", "model:gpt-4o-mini", "feature:faq", "tag:docs", "tag:two"])
def test_what_is_invalidated_is_asked_anew(http: httpx.Client, valkey: redis.Redis, tenant: int, name: str) -> None:
    """S4-12, S4-26: by tenant, model, feature, tag, at once."""
    headers = {"x-llmobs-feature": "faq", "x-llmobs-cache-tags": "docs, two"}
    ask(http, headers=headers)
    assert cache_of(ask(http, headers=headers)) == "hit-exact"
    status.invalidate(valkey, tenant, [name])
    assert cache_of(ask(http, headers=headers)) == "miss"
    assert cache_of(ask(http, headers=headers)) == "hit-exact"


def test_too_many_tags_are_refused(http: httpx.Client) -> None:
    headers = {**EXACT, "x-llmobs-cache-tags": ",".join(f"t{n}" for n in range(17))}
    assert http.post(CHAT, json=BODY, headers=headers).status_code == 400


def test_without_valkey_the_provider_answers(
    http: httpx.Client, gateway: Gateway, simulator: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails open: every call is a miss."""
    assert gateway.plane is not None
    monkeypatch.setattr(gateway.plane.holds.valkey, "_is_ready", False)
    assert [cache_of(ask(http)) for _ in range(2)] == ["miss", "miss"]
    assert requests(simulator) == 2


# ---------------------------------------------------------------- across formats


@pytest.mark.parametrize("is_stream", [True, False])
def test_translated_answers_are_kept_in_the_callers_format(
    gateway: Gateway, secret: str, simulator: Running, is_stream: bool
) -> None:
    """A stream of the other format is put together, translated, and streamed again."""
    chat = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0, default_headers=EXACT)
    messages = anthropic.Anthropic(base_url=gateway.url, api_key=secret, max_retries=0, default_headers=EXACT)
    said: list[str] = []
    for _ in range(2):
        if is_stream:
            with messages.messages.stream(model="gpt-4o-mini", messages=PROMPT, max_tokens=35) as stream:
                said.append(stream.get_final_text())
            with chat.chat.completions.stream(model="claude-sonnet-4-5", messages=PROMPT, max_tokens=35) as chunks:
                said.append(chunks.get_final_completion().choices[0].message.content or "")
        else:
            reply: Any = messages.messages.create(model="gpt-4o-mini", messages=PROMPT, max_tokens=35)
            said.append(reply.content[0].text)
            answer = chat.chat.completions.create(model="claude-sonnet-4-5", messages=PROMPT, max_tokens=35)
            said.append(answer.choices[0].message.content or "")
    assert (said[0], said[1]) == (said[2], said[3])
    assert "" not in said
    assert requests(simulator) == 2


def test_a_tool_call_is_streamed_from_the_cache(gateway: Gateway, secret: str, simulator: Running) -> None:
    tool: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    chat = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0, default_headers=EXACT)
    given: Any = {"model": "gpt-4o-mini", "messages": PROMPT, "tools": [tool], "tool_choice": "required"}
    calls = []
    for _ in range(2):
        with chat.chat.completions.stream(**given) as chunks:
            calls.append(chunks.get_final_completion().choices[0].message.tool_calls)
    assert calls[0]
    assert calls[0][0].function.name == "look"
    assert calls[0] == calls[1]
    assert requests(simulator) == 1

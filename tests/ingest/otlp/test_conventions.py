"""Each convention by small samples of its own names, as its library writes them."""

import json
from typing import Any

import pytest

from llmobs.pricing.usage import Usage
from llmobs.spans.record import stored_attributes
from tests.ingest.otlp.sent import NOW_NS, SECOND, decoded, pairs, read, span


def texts(messages: str | None) -> list[tuple[str, Any]]:
    return [
        (message["role"], part.get("content")) for message in json.loads(messages or "[]") for part in message["parts"]
    ]


def test_the_vercel_sdks_inner_span_is_the_call_and_the_outer_is_not() -> None:
    inner = {
        "ai.operationId": "ai.generateText.doGenerate",
        "ai.model.provider": "openai.responses",
        "ai.model.id": "gpt-4o-mini",
        "gen_ai.system": "openai.responses",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.id": "resp_1",
        "gen_ai.usage.input_tokens": 21,
        "gen_ai.usage.output_tokens": 11,
        "ai.usage.inputTokens": 21,
        "ai.usage.outputTokens": 11,
        "ai.usage.cachedInputTokens": 4,
        "ai.usage.outputTokenDetails.reasoningTokens": 3,
        "ai.prompt.messages": '[{"role":"user","content":[{"type":"text","text":"hello"}]}]',
        "ai.response.text": "Hi there.",
        "ai.response.finishReason": "stop",
        "ai.response.msToFirstChunk": 120.5,
        "ai.telemetry.functionId": "greet",
        "ai.telemetry.metadata.userId": "ada",
        "ai.telemetry.metadata.sessionId": "s-1",
    }
    call = read(inner)
    assert (call.is_call, call.provider_name, call.operation_name) == (True, "openai", "chat")
    assert (call.request_model, call.response_model, call.response_id) == (
        "gpt-4o-mini",
        "gpt-4o-mini-2024-07-18",
        "resp_1",
    )
    assert call.usage == Usage(uncached_input=17, cache_read=4, output=11, reasoning=3)
    assert (texts(call.input), texts(call.output)) == ([("user", "hello")], [("assistant", "Hi there.")])
    assert (call.finish_reasons, call.ttft_ns) == (("stop",), 120_500_000)
    who = call.attribution
    assert (who.feature, who.user_id, who.session_id) == ("greet", "ada", "s-1")
    outer = read({**inner, "ai.operationId": "ai.generateText"})
    assert (outer.is_call, outer.usage) == (False, None)


def test_a_vercel_embedding_has_its_tokens_and_no_vectors() -> None:
    call = read(
        {
            "ai.operationId": "ai.embed.doEmbed",
            "ai.model.provider": "openai.embedding",
            "ai.model.id": "text-embedding-3-small",
            "ai.usage.tokens": 38,
            "ai.values": ['"one"', '"two"'],
            "ai.embeddings": ["[0.25, 0.5]"],
        }
    )
    assert (call.operation_name, call.provider_name, call.usage) == ("embeddings", "openai", Usage(uncached_input=38))
    assert not call.is_estimated
    assert "0.25" not in json.dumps(call.attributes) + (call.input or "") + (call.output or "")


def test_a_vercel_tool_call_has_its_arguments_and_result() -> None:
    tool = read({"ai.operationId": "ai.toolCall", "ai.toolCall.args": '{"city":"Rome"}', "ai.toolCall.result": "21 C"})
    assert (tool.is_call, tool.operation_name) == (False, "execute_tool")
    assert "Rome" in (tool.input or "")
    assert "21 C" in (tool.output or "")


def langfuse(usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": "gpt-4o-mini-2024-07-18",
        "langfuse.observation.usage_details": json.dumps(usage),
        "langfuse.observation.cost_details": '{"input": 0.1, "total": 0.25}',
        "langfuse.observation.input": '[{"role":"user","content":"hello"}]',
        "langfuse.observation.output": '{"role":"assistant","content":"Hi."}',
        "langfuse.observation.completion_start_time": '"2027-01-15T07:59:58.500000Z"',
        "langfuse.environment": "staging",
        "user.id": "ada",
        "session.id": "s-1",
        "langfuse.trace.metadata.feature": "checkout",
    }


def test_langfuse_has_everything_as_json_texts() -> None:
    details = {"cached_tokens": 5}
    call = read(langfuse({"prompt_tokens": 21, "completion_tokens": 11, "prompt_tokens_details": details}))
    assert (call.is_call, call.provider_name, call.response_model) == (True, "openai", "gpt-4o-mini-2024-07-18")
    assert call.usage == Usage(uncached_input=16, cache_read=5, output=11)
    assert call.stated_cost_nanousd == 250_000_000
    assert call.ttft_ns == SECOND // 2
    assert (texts(call.input), texts(call.output)) == ([("user", "hello")], [("assistant", "Hi.")])
    who = call.attribution
    assert (who.environment, who.user_id, who.session_id, who.feature) == ("staging", "ada", "s-1", "checkout")


def test_langfuse_tokens_taken_out_of_the_input_are_added_where_the_total_proves_it() -> None:
    apart = read(langfuse({"input": 16, "output": 8, "input_cache_read": 5, "output_reasoning": 3, "total": 32}))
    assert apart.usage == Usage(uncached_input=16, cache_read=5, output=11, reasoning=3)
    within = read(langfuse({"input": 21, "output": 11, "input_cache_read": 5, "output_reasoning": 3, "total": 32}))
    assert within.usage == apart.usage


def test_a_langfuse_error_is_known_by_its_level() -> None:
    failed = read({"langfuse.observation.type": "generation", "langfuse.observation.level": "ERROR"})
    assert failed.status == "failed"


@pytest.mark.parametrize("kind", ["span", "agent", "tool", "retriever", "chain"])
def test_other_langfuse_observations_are_no_calls(kind: str) -> None:
    assert not read({**langfuse({"input": 1, "output": 1}), "langfuse.observation.type": kind}).is_call


def test_mlflow_values_are_json_documents() -> None:
    call = read(
        {
            "mlflow.spanType": '"CHAT_MODEL"',
            "mlflow.llm.model": '"gpt-4o-mini"',
            "mlflow.chat.tokenUsage": '{"input_tokens": 21, "output_tokens": 11, "cache_read_input_tokens": 4}',
            "model": '"gpt-4o-mini"',
            "mlflow.spanInputs": '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}',
            "mlflow.spanOutputs": (
                '{"id": "chatcmpl-1", "model": "gpt-4o-mini-2024-07-18",'
                ' "choices": [{"message": {"role": "assistant", "content": "Hi."}}]}'
            ),
        }
    )
    assert (call.is_call, call.provider_name, call.response_id) == (True, "openai", "chatcmpl-1")
    assert (call.request_model, call.response_model) == ("gpt-4o-mini", "gpt-4o-mini-2024-07-18")
    assert call.usage == Usage(uncached_input=17, cache_read=4, output=11)
    assert (texts(call.input), texts(call.output)) == ([("user", "hello")], [("assistant", "Hi.")])
    assert not read({"mlflow.spanType": '"CHAIN"', "mlflow.chat.tokenUsage": '{"input_tokens": 21}'}).is_call


def test_litellm_keeps_cache_tokens_in_a_python_dict() -> None:
    call = read(
        {
            "gen_ai.operation.name": "acompletion",
            "gen_ai.system": "anthropic",
            "gen_ai.request.model": "anthropic/claude-sonnet-4-5",
            "gen_ai.response.model": "claude-sonnet-4-5-20250929",
            "gen_ai.usage.input_tokens": 1345,
            "gen_ai.usage.output_tokens": 11,
            "gen_ai.response.finish_reasons": '["stop"]',
            "gen_ai.cost.total_cost": 0.0012,
            "llm.user": "ada",
            "metadata.usage_object": "{'prompt_tokens': 1345, 'cache_creation_input_tokens': 1280, "
            "'prompt_tokens_details': {'cached_tokens': 0}}",
            "metadata.user_api_key": "",
        },
        scope="litellm",
    )
    assert (call.operation_name, call.is_call, call.request_model) == ("chat", True, "claude-sonnet-4-5")
    assert call.usage == Usage(uncached_input=65, cache_write_5m=1280, output=11)
    assert (call.stated_cost_nanousd, call.finish_reasons) == (1_200_000, ("stop",))
    assert call.attribution.user_id == "ada"
    assert call.attributes == {}


def test_openlit_leaves_cached_tokens_out_of_anthropics_input() -> None:
    call = decoded(
        span(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "anthropic",
                "gen_ai.request.model": "claude-sonnet-4-5",
                "gen_ai.usage.input_tokens": 2000,
                "gen_ai.usage.output_tokens": 11,
                "gen_ai.usage.cache_read.input_tokens": 1280,
                "gen_ai.usage.cost": 0,
            }
        ),
        resource={"telemetry.sdk.name": "openlit"},
    )
    assert call.usage == Usage(uncached_input=2000, cache_read=1280, output=11)
    assert call.stated_cost_nanousd is None


def test_cached_tokens_that_exceed_the_input_cannot_be_in_it() -> None:
    call = read(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": 65,
            "gen_ai.usage.output_tokens": 11,
            "gen_ai.usage.cache_creation.input_tokens": 1280,
        }
    )
    assert call.usage == Usage(uncached_input=65, cache_write_5m=1280, output=11)


def test_writes_for_an_hour_are_told_apart_where_the_sdk_says_so() -> None:
    call = read(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": 1345,
            "gen_ai.usage.output_tokens": 11,
            "gen_ai.usage.cache_write.input_tokens": 1280,
            "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 1000,
        }
    )
    assert call.usage == Usage(uncached_input=65, cache_write_5m=280, cache_write_1h=1000, output=11)


def test_logfires_stream_is_counted_by_the_span_that_has_its_usage() -> None:
    request = '{"model": "gpt-4o-mini", "stream": true, "messages": [{"role": "user", "content": "hello"}]}'
    common = {"gen_ai.request.model": "gpt-4o-mini", "request_data": request, "gen_ai.system": "openai"}
    first = read(common, scope="logfire.openai")
    second = read(
        {
            **common,
            "gen_ai.usage.input_tokens": 21,
            "gen_ai.usage.output_tokens": 11,
            "gen_ai.usage.raw": '{"completion_tokens_details": {"reasoning_tokens": 3}}',
            "response_data": '{"combined_chunk_content": "Hi.", "chunk_count": 3}',
            "duration": 1.5,
        },
        scope="logfire.openai",
        name="streaming response from {request_data[model]!r} took {duration:.2f}s",
        startTimeUnixNano=str(NOW_NS - SECOND),
    )
    assert not first.is_call
    assert (second.is_call, second.usage) == (True, Usage(uncached_input=21, output=11, reasoning=3))
    assert second.duration_ns == 3 * SECOND // 2
    assert (texts(second.input), texts(second.output)) == ([("user", "hello")], [("assistant", "Hi.")])


def test_a_failed_logfire_stream_is_a_call() -> None:
    request = {"gen_ai.request.model": "gpt-4o-mini", "request_data": '{"stream": true}'}
    assert read(request, scope="logfire.openai", status={"code": 2}).is_call


def test_old_traceloop_numbers_its_messages() -> None:
    call = read(
        {
            "llm.request.type": "chat",
            "gen_ai.system": "OpenAI",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.usage.prompt_tokens": 21,
            "gen_ai.usage.completion_tokens": 11,
            "gen_ai.usage.cache_read_input_tokens": 4,
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.0.content": "Be terse.",
            "gen_ai.prompt.1.role": "user",
            "gen_ai.prompt.1.content": "hello",
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.content": "Hi.",
            "gen_ai.completion.0.finish_reason": "stop",
        }
    )
    assert (call.is_call, call.provider_name, call.operation_name) == (True, "openai", "chat")
    assert call.usage == Usage(uncached_input=17, cache_read=4, output=11)
    assert texts(call.input) == [("system", "Be terse."), ("user", "hello")]
    assert texts(call.output) == [("assistant", "Hi.")]


def test_an_agent_that_sums_its_calls_under_the_same_names_has_no_usage() -> None:
    agent = read({"openinference.span.kind": "AGENT", "llm.token_count.prompt": 7538, "llm.token_count.completion": 9})
    assert (agent.is_call, agent.usage, agent.operation_name) == (False, None, "invoke_agent")


def test_the_kind_decides_where_a_span_carries_both_sets() -> None:
    agent = {"openinference.span.kind": "AGENT", "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5}
    assert not read(agent).is_call


def test_the_models_prefix_names_the_provider_where_google_adk_names_itself() -> None:
    call = read(
        {"openinference.span.kind": "LLM", "llm.provider": "google", "llm.model_name": "openai/gpt-4o-mini"},
        scope="openinference.instrumentation.google_adk",
    )
    assert (call.provider_name, call.response_model) == ("openai", "gpt-4o-mini")


def test_a_count_that_is_missing_is_not_zero() -> None:
    assert read({"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o"}).usage is None


@pytest.mark.parametrize("count", [-5, 2**62, True, 1.5, "many"])
def test_a_count_that_cannot_be_is_unknown(count: object) -> None:
    assert read({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": count}).usage is None


@pytest.mark.parametrize("kind", ["workflow", "task", "agent", "tool"])
def test_traceloops_decorated_functions_are_no_calls(kind: str) -> None:
    assert not read({"traceloop.span.kind": kind, "gen_ai.request.model": "gpt-4o"}).is_call


def test_a_span_with_a_model_and_nothing_else_is_a_call() -> None:
    assert read({"gen_ai.request.model": "gpt-4o"}).is_call
    assert not read({"http.route": "/"}).is_call


def test_what_the_span_does_not_say_is_the_keys_default() -> None:
    plain = decoded(span(), resource={"service.name": "unknown_service:python"})
    assert (plain.attribution.service, plain.attribution.feature) == ("from-key", "from-key")
    said = decoded(span({"llmobs.feature": "search"}), resource={"service.name": "shop", "deployment.environment": "p"})
    who = said.attribution
    assert (who.service, who.environment, who.feature, who.key_id) == ("shop", "p", "search", 7)


def test_large_and_broken_values_are_cut_and_cleaned() -> None:
    found = read({"note": "x" * 50_000, "nul\x00": "a\x00b", "user.id": "ada\x00"}, name="n\x00")
    assert found.attributes["note"].endswith("… (cut: 50000 characters)")
    assert len(found.attributes["note"]) < 5000
    assert "\x00" not in json.dumps(found.attributes, ensure_ascii=False) + found.name + found.attribution.user_id


def test_messages_that_do_not_parse_are_kept_as_one_text() -> None:
    found = read({"gen_ai.operation.name": "chat", "gen_ai.input.messages": '[{"role": "user", "par'})
    assert texts(found.input) == [("user", '[{"role": "user", "par')]


def test_system_instructions_come_before_the_messages() -> None:
    found = read(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.system_instructions": '[{"type":"text","content":"Be terse."}]',
            "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"hello"}]}]',
        }
    )
    assert texts(found.input) == [("system", "Be terse."), ("user", "hello")]


def test_an_exception_event_names_the_error_and_is_kept() -> None:
    event = {
        "name": "exception",
        "timeUnixNano": str(NOW_NS - SECOND),
        "attributes": pairs({"exception.type": "openai.APITimeoutError", "exception.message": "Request timed out."}),
    }
    found = read({"gen_ai.operation.name": "chat"}, events=[event], status={"code": 2, "message": "Request timed out."})
    assert (found.status, found.error_type) == ("timed_out", "timeout")
    assert found.attributes["events"][0]["offset_ns"] == SECOND


def test_sound_searches_and_tiers_are_read_where_a_convention_has_them() -> None:
    openinference = read(
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "gpt-audio",
            "llm.token_count.prompt": 100,
            "llm.token_count.completion": 50,
            "llm.token_count.prompt_details.audio": 30,
            "llm.token_count.completion_details.audio": 20,
        }
    )
    assert openinference.usage == Usage(70, output=30, units=(("audio_input", 30), ("audio_output", 20)))
    official = read(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-5",
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 5,
            "gen_ai.usage.details.web_search_requests": 2,
            "openai.response.service_tier": "priority",
        }
    )
    assert official.usage == Usage(10, output=5, units=(("web_search", 2),), tier="priority")


def test_what_a_sender_calls_by_our_own_names_is_not_believed() -> None:
    call = read(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-5",
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 5,
            "llmobs.units": "web_search",
            "llmobs.tier": "batch",
        }
    )
    assert call.usage == Usage(10, output=5)
    assert stored_attributes(call).keys().isdisjoint({"llmobs.units", "llmobs.tier"})

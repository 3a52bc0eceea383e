"""A request for one of Anthropic's messages as one for a chat completion.

What OpenAI has no word for is left out where the answer keeps its shape (top_k, cache markers), and refused where it
would not (tools that Anthropic runs itself, containers).
"""

from gateway.dialects.dialect import Asked, BadRequest
from gateway.dialects.openai import ceiling_field
from gateway.dialects.openai_family import is_reasoning, may_think
from gateway.dialects.schemas import is_strict
from gateway.dialects.turns_to_openai import turns_to_openai
from gateway.dialects.wire import Json, encode, objects

_MOST_STOPS = 4  # OpenAI's own bound
# A budget of thought as an effort: the bounds between OpenAI's words are ours.
_MEDIUM_BUDGET_TOKENS, _HIGH_BUDGET_TOKENS = 4_096, 12_288
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_TIERS = {"auto": "auto", "standard_only": "default"}


def to_openai(given: Json, model: str, asked: Asked, ceiling_tokens: int) -> bytes:
    """The body to send. Raises BadRequest where the request cannot be expressed, and says what."""
    for name in ("container", "mcp_servers"):
        if given.get(name):
            raise BadRequest(f"`{name}`: the model's provider speaks OpenAI's format, which has no such thing")
    most = asked.most_output_tokens or ceiling_tokens
    sent: Json = {
        "model": model,
        "messages": turns_to_openai(given.get("system"), given.get("messages")),
        ceiling_field(model): min(most, ceiling_tokens) if ceiling_tokens else most,
    }
    if asked.is_stream:
        sent["stream"] = True
        sent["stream_options"] = {"include_usage": True}
    _add_tools(given, sent)
    _add_output(given, sent)
    _add_thinking(given, sent, model)
    _add_sampling(given, sent, model)
    if asked.user:
        sent["user"] = asked.user
    if given.get("service_tier") in _TIERS:
        sent["service_tier"] = _TIERS[given["service_tier"]]
    return encode(sent)


def _add_tools(given: Json, sent: Json) -> None:
    tools = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(objects(given.get("tools")))]
    if not tools:
        return
    sent["tools"] = tools
    choice = given.get("tool_choice")
    if not isinstance(choice, dict):
        return
    kind = choice.get("type")
    if kind == "tool":
        sent["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif kind in ("auto", "any", "none"):
        sent["tool_choice"] = "required" if kind == "any" else kind
    if choice.get("disable_parallel_tool_use") is True:
        sent["parallel_tool_calls"] = False


def _tool(tool: Json, where: str) -> Json:
    if tool.get("type") not in (None, "custom") or not isinstance(tool.get("input_schema"), dict):
        raise BadRequest(
            f"{where}: tools of type {str(tool.get('type'))[:40]!r} are Anthropic's own; "
            "only tools with an input_schema can be sent to this model's provider"
        )
    function: Json = {"name": tool.get("name")}
    if tool.get("description"):
        function["description"] = tool["description"]
    function["parameters"] = tool["input_schema"]
    if tool.get("strict") is True and is_strict(tool["input_schema"]):
        function["strict"] = True
    return {"type": "function", "function": function}


def _add_output(given: Json, sent: Json) -> None:
    config = given.get("output_config")
    wanted = (config.get("format") if isinstance(config, dict) else None) or given.get("output_format")
    if not isinstance(wanted, dict) or not isinstance(wanted.get("schema"), dict):
        return
    schema = wanted["schema"]
    described = {"name": "answer", "schema": schema, "strict": is_strict(schema)}
    sent["response_format"] = {"type": "json_schema", "json_schema": described}


def _add_thinking(given: Json, sent: Json, model: str) -> None:
    thinking, config = given.get("thinking"), given.get("output_config")
    if not isinstance(thinking, dict) or not may_think(model):
        return
    if thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens") or 0
        sent["reasoning_effort"] = (
            "high" if budget >= _HIGH_BUDGET_TOKENS else "medium" if budget >= _MEDIUM_BUDGET_TOKENS else "low"
        )
    elif thinking.get("type") == "adaptive" and isinstance(config, dict) and config.get("effort") in _EFFORTS:
        sent["reasoning_effort"] = _EFFORTS[config["effort"]]


def _add_sampling(given: Json, sent: Json, model: str) -> None:
    if is_reasoning(model):
        return  # OpenAI's reasoning models refuse these
    stops = given.get("stop_sequences") or []
    if len(stops) > _MOST_STOPS:
        raise BadRequest(
            f"stop_sequences: the model's provider takes {_MOST_STOPS} at most, and {len(stops)} are given"
        )
    if stops:
        sent["stop"] = stops
    for name in ("temperature", "top_p"):
        if given.get(name) is not None:
            sent[name] = given[name]

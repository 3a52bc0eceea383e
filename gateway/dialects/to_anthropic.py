"""A chat completion's request as one of Anthropic's messages.

What Anthropic has no word for is left out where the answer keeps its shape (seed, penalties, verbosity), and refused
where it would not (several choices, log probabilities, audio, a search of the provider's own).
"""

from gateway.dialects.dialect import Asked, BadRequest
from gateway.dialects.generations import (
    effort,
    has_structured_outputs,
    takes_one_sampling,
    takes_sampling,
    thinks_adaptively,
    thinks_by_budget,
)
from gateway.dialects.schemas import Open, closed
from gateway.dialects.turns_to_anthropic import called_tools, lacks_thinking, turns_to_anthropic
from gateway.dialects.wire import Json, encode, objects

# The name of the tool by which an older model gives its answer as JSON; the answer comes back as content.
OUTPUT_TOOL = "give_json_answer"
_JSON_ONLY = "Answer with one JSON object and nothing else: no explanation, no code fence."
_LEAST_BUDGET_TOKENS = 1_024  # Anthropic's own bound
_BUDGET_TOKENS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_768, "max": 32_768}
_LEAST_TOP_P_THINKING = 0.95  # Anthropic's own bound
_ANY_OBJECT: Json = {"type": "object", "properties": {}}


def to_anthropic(given: Json, model: str, asked: Asked, ceiling_tokens: int) -> bytes:
    """The body to send. Raises BadRequest where the request cannot be expressed, and says what."""
    _refuse_what_cannot_be(given)
    system, turns = turns_to_anthropic(given.get("messages"))
    most = asked.most_output_tokens or ceiling_tokens
    sent: Json = {"model": model, "max_tokens": min(most, ceiling_tokens) if ceiling_tokens else most}
    if asked.is_stream:
        sent["stream"] = True
    _add_tools(given, sent, turns)
    _add_output(given, sent, system, model)
    _add_thinking(given, sent, turns, model)
    _add_sampling(given, sent, model)
    if system:
        is_plain = len(system) == 1 and system[0].keys() == {"type", "text"}
        sent["system"] = system[0]["text"] if is_plain else system
    sent["messages"] = turns
    if asked.user:
        sent["metadata"] = {"user_id": asked.user}
    if isinstance(given.get("cache_control"), dict):
        sent["cache_control"] = given["cache_control"]
    tier = given.get("service_tier")
    if tier in ("auto", "default"):
        sent["service_tier"] = "auto" if tier == "auto" else "standard_only"
    return encode(sent)


def _refuse_what_cannot_be(given: Json) -> None:
    audio = given.get("audio") or "audio" in (given.get("modalities") or ())
    cannot = {
        "`n` above 1": (given.get("n") or 1) > 1,
        "`logprobs`": bool(given.get("logprobs")),
        "`audio`": bool(audio),
        "`web_search_options`": given.get("web_search_options") is not None,
        "`functions` (the old form of `tools`)": bool(given.get("functions")),
    }
    named = [name for name, is_asked in cannot.items() if is_asked]
    if named:
        raise BadRequest(f"{', '.join(named)}: the model's provider speaks Anthropic's format, which has no such thing")


# ------------------------------------------------------------ tools


def _add_tools(given: Json, sent: Json, turns: list[Json]) -> None:
    tools = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(objects(given.get("tools")))]
    choice = given.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools") or choice
        names = {(tool.get("function") or tool).get("name") for tool in objects(allowed.get("tools"))}
        tools = [tool for tool in tools if tool["name"] in names]
        choice = allowed.get("mode", "auto")
    if not tools:
        called = called_tools(turns)
        if called:  # earlier calls must be of tools that the request describes
            sent["tools"] = [{"name": name, "input_schema": _ANY_OBJECT} for name in called]
            sent["tool_choice"] = {"type": "none"}
        return
    sent["tools"] = tools
    wanted = _choice(choice)
    if given.get("parallel_tool_calls") is False:
        wanted = wanted or {"type": "auto"}
        if wanted["type"] != "none":
            wanted["disable_parallel_tool_use"] = True
    if wanted:
        sent["tool_choice"] = wanted


def _tool(tool: Json, where: str) -> Json:
    function = tool.get("function")
    if tool.get("type", "function") != "function" or not isinstance(function, dict):
        raise BadRequest(f"{where}: only tools of type function can be sent to this model's provider")
    schema = function.get("parameters")
    found: Json = {"name": function.get("name")}
    if function.get("description"):
        found["description"] = function["description"]
    found["input_schema"] = {"type": "object", **schema} if isinstance(schema, dict) and schema else _ANY_OBJECT
    marker = tool.get("cache_control") or function.get("cache_control")
    if isinstance(marker, dict):
        found["cache_control"] = marker
    return found


def _choice(choice: object) -> Json | None:
    if isinstance(choice, dict):
        function = choice.get("function")
        return {"type": "tool", "name": function.get("name")} if isinstance(function, dict) else None
    return {"auto": {"type": "auto"}, "required": {"type": "any"}, "none": {"type": "none"}}.get(str(choice))


# ------------------------------------------------------------ JSON answers


def _add_output(given: Json, sent: Json, system: list[Json], model: str) -> None:
    wanted = given.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_object":
        system.append({"type": "text", "text": _JSON_ONLY})
    if kind != "json_schema" or not isinstance(wanted, dict):
        return
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    if not isinstance(schema, dict):
        raise BadRequest("response_format.json_schema.schema is missing")
    if has_structured_outputs(model):
        try:
            sent["output_config"] = {"format": {"type": "json_schema", "schema": closed(schema)}}
            return
        except Open:
            pass
    _add_output_tool(sent, schema, (described or {}).get("description"))


def _add_output_tool(sent: Json, schema: Json, description: object) -> None:
    """The answer as a tool's input: where the caller has tools of its own, the model chooses among all."""
    tool = {
        "name": OUTPUT_TOOL,
        "description": str(description or "Gives the answer to the user."),
        "input_schema": {"type": "object", **schema},
    }
    chosen = sent.get("tool_choice", {"type": "auto"})["type"]
    tools = sent.get("tools", []) if chosen in ("auto", "any") else []
    if chosen == "tool":
        return  # a tool of the caller's is called first
    sent["tools"] = [*tools, tool]
    sent["tool_choice"] = {"type": "any"} if tools else {"type": "tool", "name": OUTPUT_TOOL}


# ------------------------------------------------------------ thinking and sampling


def _add_thinking(given: Json, sent: Json, turns: list[Json], model: str) -> None:
    if sent.get("tool_choice", {}).get("type") in ("any", "tool"):
        return  # Anthropic refuses to think before a call that it is forced to make
    thinking = given.get("thinking")
    if isinstance(thinking, dict):
        sent["thinking"] = thinking
    else:
        _think_by_effort(given, sent, model)
    if sent.get("thinking", {}).get("type") == "enabled" and lacks_thinking(turns):
        del sent["thinking"]  # what the other format could not keep cannot be sent


def _think_by_effort(given: Json, sent: Json, model: str) -> None:
    reasoning = given.get("reasoning")
    asked = given.get("reasoning_effort") or (reasoning.get("effort") if isinstance(reasoning, dict) else None)
    if asked not in _BUDGET_TOKENS:
        return
    if thinks_adaptively(model):
        sent["thinking"] = {"type": "adaptive"}
        sent["output_config"] = {"effort": effort(model, asked), **sent.get("output_config", {})}
    elif thinks_by_budget(model):
        budget = min(_BUDGET_TOKENS[asked], sent["max_tokens"] // 2)
        if budget >= _LEAST_BUDGET_TOKENS:
            sent["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _add_sampling(given: Json, sent: Json, model: str) -> None:
    stop = given.get("stop")
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    stops = [sequence for sequence in stops if isinstance(sequence, str) and sequence.strip()]
    if stops:
        sent["stop_sequences"] = stops
    if not takes_sampling(model):
        return
    temperature, top_p = given.get("temperature"), given.get("top_p")
    if sent.get("thinking", {}).get("type") in ("enabled", "adaptive"):
        if top_p is not None and top_p >= _LEAST_TOP_P_THINKING:
            sent["top_p"] = top_p
        return
    if temperature is not None:
        sent["temperature"] = max(0, min(1, temperature))
    if top_p is not None and (temperature is None or not takes_one_sampling(model)):
        sent["top_p"] = top_p
    if given.get("top_k") is not None:
        sent["top_k"] = given["top_k"]

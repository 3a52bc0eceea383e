"""OpenAI's responses: events as one response and back. The last event carries the whole."""

from collections.abc import Iterator

from gateway.dialects.wire import Json, named_sse, objects, pieces

_LAST = ("response.completed", "response.incomplete")  # what failed is no answer


def responses_as_whole(events: list[Json]) -> Json | None:
    """The response that the last event carries; None: it failed."""
    for event in reversed(events):
        if event.get("type") in _LAST and isinstance(event.get("response"), dict):
            found: Json = event["response"]
            return found
    return None


def responses_as_stream(answer: Json, wants_usage: bool) -> bytes:
    """A response as events; this format always reports usage."""
    begun = {**answer, "status": "in_progress", "output": [], "usage": None}
    last = "response.incomplete" if answer.get("status") == "incomplete" else "response.completed"
    events: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(objects(answer.get("output"))):
        events += _item(item, index)
    events.append({"type": last, "response": answer})
    return b"".join(named_sse({**event, "sequence_number": number}) for number, event in enumerate(events))


def _item(item: Json, output_index: int) -> Iterator[Json]:
    kind = item.get("type")
    place = {"item_id": item.get("id"), "output_index": output_index}
    begun = {**item, "status": "in_progress"} if "status" in item else dict(item)
    inner: Iterator[Json] = iter(())
    if kind == "message":
        begun["content"], inner = [], _parts(item, place)
    elif kind == "function_call":
        begun["arguments"], inner = "", _arguments(item, place)
    elif kind == "reasoning":
        begun["summary"], inner = [], _summary(item, place)
    yield {"type": "response.output_item.added", "output_index": output_index, "item": begun}
    yield from inner
    yield {"type": "response.output_item.done", "output_index": output_index, "item": item}


def _parts(item: Json, place: Json) -> Iterator[Json]:
    for index, part in enumerate(objects(item.get("content"))):
        where = {**place, "content_index": index}
        name, event = ("refusal", "refusal") if part.get("type") == "refusal" else ("text", "output_text")
        more: Json = {} if name == "refusal" else {"logprobs": []}
        said = str(part.get(name, ""))
        yield {"type": "response.content_part.added", **where, "part": {**part, name: ""}}
        for piece in pieces(said):
            yield {"type": f"response.{event}.delta", **where, "delta": piece, **more}
        yield {"type": f"response.{event}.done", **where, name: said, **more}
        yield {"type": "response.content_part.done", **where, "part": part}


def _arguments(item: Json, place: Json) -> Iterator[Json]:
    said = str(item.get("arguments", ""))
    for piece in pieces(said):
        yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
    yield {"type": "response.function_call_arguments.done", **place, "name": item.get("name"), "arguments": said}


def _summary(item: Json, place: Json) -> Iterator[Json]:
    for index, part in enumerate(objects(item.get("summary"))):
        where = {**place, "summary_index": index}
        said = str(part.get("text", ""))
        yield {"type": "response.reasoning_summary_part.added", **where, "part": {**part, "text": ""}}
        for piece in pieces(said):
            yield {"type": "response.reasoning_summary_text.delta", **where, "delta": piece}
        yield {"type": "response.reasoning_summary_text.done", **where, "text": said}
        yield {"type": "response.reasoning_summary_part.done", **where, "part": part}

"""OpenAI's responses: events as one response and back. The last event carries the whole."""

from gateway.dialects.response_events import Arguments, Part, item_begins, item_ends
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
        events += [item_begins(item, index), *_said(item, index), item_ends(item, index)]
    events.append({"type": last, "response": answer})
    return b"".join(named_sse({**event, "sequence_number": number}) for number, event in enumerate(events))


def _said(item: Json, output_index: int) -> list[Json]:
    kind, item_id = item.get("type"), item.get("id")
    if kind == "function_call":
        return _told(Arguments(item_id, output_index), item)
    parts = objects(item.get({"message": "content", "reasoning": "summary"}.get(str(kind), "")))
    events: list[Json] = []
    for index, part in enumerate(parts):
        events += _told(Part(part["type"], item_id, output_index, index), part)
    return events


def _told(told: Part | Arguments, part: Json) -> list[Json]:
    said = pieces(str(part.get(told.field) or ""))
    return [*told.begins(part), *map(told.says, said), *told.ends(part)]

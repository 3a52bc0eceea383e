"""The events by which a response's items are told: an item begins, its parts are said piece by piece, it ends."""

from gateway.dialects.wire import Json

# A part's type: what its events are called, the field of its text, what its place is called.
_PARTS = {
    "output_text": ("response.output_text", "response.content_part", "text", "content_index"),
    "refusal": ("response.refusal", "response.content_part", "refusal", "content_index"),
    "summary_text": ("response.reasoning_summary_text", "response.reasoning_summary_part", "text", "summary_index"),
}


def item_begins(item: Json, output_index: int) -> Json:
    """The item as it is before anything of it is said."""
    begun = {**item, "status": "in_progress"} if "status" in item else dict(item)
    for name in ("content", "summary"):
        if isinstance(begun.get(name), list):
            begun[name] = []
    if item.get("type") == "function_call":
        begun["arguments"] = ""
    return {"type": "response.output_item.added", "output_index": output_index, "item": begun}


def item_ends(item: Json, output_index: int) -> Json:
    """The whole item."""
    return {"type": "response.output_item.done", "output_index": output_index, "item": item}


class Part:
    """One text of an item: of a message, of a thought."""

    def __init__(self, kind: str, item_id: object, output_index: int, index: int = 0) -> None:
        self._said, self._part, self.field, index_name = _PARTS[kind]
        self._place: Json = {"item_id": item_id, "output_index": output_index, index_name: index}
        self._more: Json = {"logprobs": []} if kind == "output_text" else {}

    def begins(self, part: Json) -> list[Json]:
        return [{"type": f"{self._part}.added", **self._place, "part": {**part, self.field: ""}}]

    def says(self, piece: str) -> Json:
        return {"type": f"{self._said}.delta", **self._place, "delta": piece, **self._more}

    def ends(self, part: Json) -> list[Json]:
        return [
            {"type": f"{self._said}.done", **self._place, self.field: part.get(self.field, ""), **self._more},
            {"type": f"{self._part}.done", **self._place, "part": part},
        ]


class Arguments:
    """The arguments of a function call, told like a part."""

    field = "arguments"

    def __init__(self, item_id: object, output_index: int) -> None:
        self._place: Json = {"item_id": item_id, "output_index": output_index}

    def begins(self, part: Json) -> list[Json]:
        return []

    def says(self, piece: str) -> Json:
        return {"type": "response.function_call_arguments.delta", **self._place, "delta": piece}

    def ends(self, part: Json) -> list[Json]:
        told = {"name": part.get("name"), "arguments": part.get("arguments") or ""}
        return [{"type": "response.function_call_arguments.done", **self._place, **told}]

"""What the clients ask: one text, one tool, one shape of answer."""

from typing import Any, Literal

import pydantic

MOST = 40  # words of an answer
HELLO: list[Any] = [{"role": "user", "content": "one two three"}]
CALL: list[Any] = [{"role": "user", "content": 'Weather? [[call weather {"city": "Bern", "days": 3}]]'}]
TWO_CALLS: list[Any] = [
    {"role": "user", "content": '[[call weather {"city": "Bern"}]] [[call weather {"city": "Basel"}]]'}
]
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
FUNCTION: Any = {"type": "function", "function": {"name": "weather", "description": "It", "parameters": PARAMETERS}}
TOOL: Any = {"name": "weather", "description": "It", "input_schema": PARAMETERS}


class Ticket(pydantic.BaseModel):
    """The shape that structured outputs are asked in."""

    title: str
    urgency: Literal["low", "high"]
    hours: int
    tags: list[str]

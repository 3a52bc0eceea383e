"""Asks by instructor, through both SDKs, for answers of a shape; prints each model's as JSON.

python ask.py URL KEY MODEL...
"""

import json
import sys
from typing import Any, Literal

import anthropic
import instructor  # type: ignore[import-not-found]
import openai
import pydantic


class Ticket(pydantic.BaseModel):
    title: str
    urgency: Literal["low", "high"]
    hours: int


def main(url: str, key: str, *models: str) -> None:
    by_openai = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    by_anthropic = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)
    clients = {
        "openai tools": instructor.from_openai(by_openai, mode=instructor.Mode.TOOLS),
        "openai json schema": instructor.from_openai(by_openai, mode=instructor.Mode.JSON_SCHEMA),
        "anthropic tools": instructor.from_anthropic(by_anthropic, mode=instructor.Mode.TOOLS),
    }
    told: dict[str, Any] = {}
    for model in models:
        for name, client in clients.items():
            ask: Any = {"model": model, "max_tokens": 60, "max_retries": 1}
            ticket = client.create(response_model=Ticket, messages=[{"role": "user", "content": "one"}], **ask)
            told[f"{name}, {model}"] = ticket.model_dump()
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])

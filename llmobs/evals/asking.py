"""Asks a judge's model through our own gateway, with the official SDK of the model's dialect.

The call is made as the judge's key (an internal token, see `tenants.keys`), so that its cost is billed, held against
budgets and shown like any other. Retries are the caller's: each attempt is a row's attempt.
"""

from dataclasses import dataclass

import anthropic
import openai
from openai.types.shared_params import ResponseFormatJSONSchema

from llmobs.evals.verdict import SCHEMA_NAME, Verdict, json_schema, read_verdict, system_prompt, user_prompt

MOST_OUTPUT_TOKENS = 2048
TIMEOUT_SECONDS = 120.0
HEADERS = {"x-llmobs-feature": "judge", "x-llmobs-cache": "off"}


class AskError(Exception):
    """The model did not answer; `can_retry` says whether it may later."""

    def __init__(self, message: str, can_retry: bool) -> None:
        super().__init__(message)
        self.can_retry = can_retry


@dataclass(frozen=True, slots=True)
class Question:
    """One answer to be judged by one model."""

    dialect: str
    model: str
    criteria: list[str]
    asked: str
    answered: str


def ask(question: Question, gateway_url: str, token: str) -> Verdict:
    """The verdict. Raises AskError when the gateway or provider said no, VerdictError when the answer is none."""
    try:
        answer = _ASK[question.dialect](question, gateway_url, token)
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        reason = error.response.headers.get("x-llmobs-reason", "provider_error")
        can_retry = error.status_code in (408, 409, 429) or error.status_code >= 500
        final = error.response.headers.get("x-should-retry") == "false"
        raise AskError(f"{reason} (HTTP {error.status_code})", can_retry and not final) from None
    except (openai.APIConnectionError, anthropic.APIConnectionError) as error:
        raise AskError(f"the gateway cannot be reached: {type(error).__name__}", can_retry=True) from None
    return read_verdict(answer, question.criteria)


def _ask_openai(question: Question, gateway_url: str, token: str) -> str:
    response_format: ResponseFormatJSONSchema = {
        "type": "json_schema",
        "json_schema": {"name": SCHEMA_NAME, "schema": json_schema(), "strict": True},
    }
    with openai.OpenAI(
        base_url=f"{gateway_url}/v1", api_key=token, max_retries=0, timeout=TIMEOUT_SECONDS, default_headers=HEADERS
    ) as client:
        completion = client.chat.completions.create(
            model=question.model,
            temperature=0,
            max_tokens=MOST_OUTPUT_TOKENS,
            response_format=response_format,
            messages=[
                {"role": "system", "content": system_prompt(question.criteria)},
                {"role": "user", "content": user_prompt(question.asked, question.answered)},
            ],
        )
    return completion.choices[0].message.content or ""


def _ask_anthropic(question: Question, gateway_url: str, token: str) -> str:
    with anthropic.Anthropic(
        base_url=gateway_url, api_key=token, max_retries=0, timeout=TIMEOUT_SECONDS, default_headers=HEADERS
    ) as client:
        # No temperature: the SDK has dropped it, and newer models refuse it.
        message = client.messages.create(
            model=question.model,
            max_tokens=MOST_OUTPUT_TOKENS,
            output_config={"format": {"type": "json_schema", "schema": json_schema()}},
            system=system_prompt(question.criteria),
            messages=[{"role": "user", "content": user_prompt(question.asked, question.answered)}],
        )
    return "".join(block.text for block in message.content if block.type == "text")


_ASK = {"openai": _ask_openai, "anthropic": _ask_anthropic}

"""Node's OpenAI client, to providers of both formats."""

from tests.clients import apart
from tests.clients.conftest import GPT
from tests.gateway.running import Gateway


def test_it_is_served_as_the_others_are(gateway: Gateway, secret: str, model: str) -> None:
    told = apart.node(f"{gateway.url}/v1", secret, model)
    assert told == {
        "whole": [3, 40, 40],
        # USD per million: gpt-4o-mini 0.15 and 0.60, claude-sonnet-4-5 3 and 15
        "cost": "0.00002445" if model == GPT else "0.000609",
        "stream": [3, 40, 40],
        "calls": [["weather", "Bern"], ["weather", "Basel"]],
        "after": 40,
        "refused": ["AuthenticationError", "NotFoundError", "BadRequestError"],
    }

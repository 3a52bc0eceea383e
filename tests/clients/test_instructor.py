"""Instructor over both SDKs, to providers of both formats."""

from tests.clients import apart
from tests.clients.conftest import CLAUDE, GPT
from tests.gateway.running import Gateway


def test_it_gets_its_shapes(gateway: Gateway, secret: str) -> None:
    told = apart.instructor(gateway.url, secret, GPT, CLAUDE)
    assert len(told) == 2 * 3
    assert {str(ticket) for ticket in told.values()} == {str({"title": "text", "urgency": "low", "hours": 1})}
    assert len(gateway.ends()) == 2 * 3

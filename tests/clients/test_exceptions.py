"""Each refusal raises the exception that users of the SDKs catch."""

from typing import Any

import anthropic
import openai
import pytest

from tests.clients.asking import HELLO
from tests.clients.conftest import CLAUDE, GPT
from tests.gateway.running import Gateway
from tests.gateway.world import World

Clients = tuple[openai.OpenAI, anthropic.Anthropic]


@pytest.fixture
def clients(openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic) -> Clients:
    return openai_client, anthropic_client


def with_key(clients: Clients, key: str) -> Clients:
    return clients[0].with_options(api_key=key), clients[1].with_options(api_key=key)


def refused(clients: Clients, by_openai: type[Exception], by_anthropic: type[Exception], **more: Any) -> list[Any]:
    """What both raise for the same request; it is checked to be of the right class."""
    ask: dict[str, Any] = {"messages": HELLO, "max_tokens": 5} | more
    with pytest.raises(by_openai) as one:
        clients[0].chat.completions.create(**{"model": GPT} | ask)
    with pytest.raises(by_anthropic) as other:
        clients[1].messages.create(**{"model": CLAUDE} | ask)
    assert type(one.value) is by_openai
    assert type(other.value) is by_anthropic
    return [one.value, other.value]


def test_a_key_that_is_none_of_ours(clients: Clients) -> None:
    """S2-40, S1-01: no call without a key."""
    errors = refused(with_key(clients, "llmobs-wrong"), openai.AuthenticationError, anthropic.AuthenticationError)
    assert [error.response.headers["x-llmobs-reason"] for error in errors] == ["invalid_key"] * 2
    assert errors[0].code == "invalid_api_key"


def test_a_model_that_the_key_may_not_use(clients: Clients, world: World, tenant: int, gateway: Gateway) -> None:
    """S2-40: a key is allowed what its owner says, no more."""
    narrow = world.key(tenant, "narrow", allowed_models='["gpt-5*"]')[1]
    gateway.wait_for_config(world.version())
    errors = refused(with_key(clients, narrow), openai.PermissionDeniedError, anthropic.PermissionDeniedError)
    assert [error.response.headers["x-llmobs-reason"] for error in errors] == ["model_not_allowed"] * 2


def test_a_model_that_nobody_serves(clients: Clients) -> None:
    refused(clients, openai.NotFoundError, anthropic.NotFoundError, model="no-such-model")


def test_a_request_that_is_none(clients: Clients) -> None:
    """S1-01: requests are validated."""
    refused(clients, openai.BadRequestError, anthropic.BadRequestError, messages=[])


def test_a_budget_that_is_used_up(clients: Clients, world: World, tenant: int, gateway: Gateway) -> None:
    world.budget(tenant, limit_nanousd=1)
    world.open_ledger()
    gateway.wait_for_config(world.version())
    errors = refused(clients, openai.RateLimitError, anthropic.PaymentRequiredError)
    assert errors[0].code == "insufficient_quota"
    assert errors[1].body["error"]["type"] == "billing_error"
    assert [error.response.headers["x-should-retry"] for error in errors] == ["false"] * 2


@pytest.mark.parametrize(
    ("status", "by_openai", "by_anthropic"),
    [
        (400, openai.BadRequestError, anthropic.BadRequestError),
        (422, openai.UnprocessableEntityError, anthropic.UnprocessableEntityError),
        (429, openai.RateLimitError, anthropic.RateLimitError),
        (500, openai.InternalServerError, anthropic.InternalServerError),
        (529, openai.InternalServerError, anthropic.OverloadedError),
    ],
)
def test_what_a_provider_refuses(
    clients: Clients,
    gateway: Gateway,
    world: World,
    status: int,
    by_openai: type[Exception],
    by_anthropic: type[Exception],
) -> None:
    """S0-09: failed calls are recorded too."""
    asked = [{"role": "user", "content": f"[[simulate status={status}, retry_after=0]] hello"}]
    refused(clients, by_openai, by_anthropic, messages=asked)
    assert {(end.status, end.http_status) for end in gateway.ends()} == {("failed", status)}

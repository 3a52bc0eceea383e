"""The configuration example of the public description: applied as it stands, and then called through its routes."""

import io
from collections.abc import Iterator
from pathlib import Path

import anthropic
import openai
import psycopg
import pytest
import redis
from django.core.management import CommandError, call_command

from llmobs.ops.simulator.faults import Faults
from llmobs.ops.simulator.running import Running
from llmobs.providers.models import Provider, Route
from llmobs.tenants.models import Tenant
from tests.gateway.conftest import shared_gateway, simulator, world
from tests.gateway.running import Gateway
from tests.gateway.world import World
from tests.gateway.written import writer_of

__all__ = ["shared_gateway", "simulator", "world"]

EXAMPLE = (Path(__file__).parents[1] / "samples/interface.yaml").read_text()
WHO_JUDGES = "tenants: [{slug: judges, keys: [{name: prod}]}]"
KEY = "acme-key-of-the-example-0001"
HELLO = "Where is my parcel?"
ENTRIES = 13


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "sk-of-the-tests")
    monkeypatch.setenv("ACME_KEY", KEY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def applied(folder: Path, text: str, *options: str) -> str:
    """What the command prints."""
    file, out = folder / "example.yaml", io.StringIO()
    file.write_text(text)
    call_command("apply", str(file), *options, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_a_dry_run_makes_nothing(folder: Path) -> None:
    applied(folder, WHO_JUDGES)

    assert f"{ENTRIES} created, 0 changed, 0 unchanged (dry run" in applied(folder, EXAMPLE, "--dry-run")

    assert not Provider.objects.exists()
    assert [tenant.slug for tenant in Tenant.objects.all()] == ["judges"]


@pytest.mark.django_db
def test_a_second_time_nothing_changes(folder: Path) -> None:
    applied(folder, WHO_JUDGES)

    assert f"{ENTRIES} created, 0 changed, 0 unchanged\n" in applied(folder, EXAMPLE)
    again = applied(folder, EXAMPLE)

    assert f"0 created, 0 changed, {ENTRIES} unchanged\n" in again
    assert "key acme/prod:" not in again


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("cache: off, unpriced", "cache: semantic, unpriced", "tenants[0].keys[0].cache: The semantic cache is"),
        ("https://hooks.example.com/x", "syslog://hooks/x", "alert_channels[0].url: An address such as https://"),
        ("key: judges/prod", "key: judges/other", "judges[0].key: there is no key 'judges/other'"),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(folder: Path, before: str, after: str, said: str) -> None:
    applied(folder, WHO_JUDGES)
    assert before in EXAMPLE

    with pytest.raises(CommandError) as caught:
        applied(folder, EXAMPLE.replace(before, after))

    assert said in str(caught.value)
    assert not Provider.objects.exists()


@pytest.fixture
def served(
    folder: Path,
    shared_gateway: Gateway,
    simulator: Running,
    world: World,
    pg: psycopg.Connection,
    valkey: redis.Redis,
) -> Gateway:
    """A gateway that serves by the example, with the simulator at both providers' addresses."""
    applied(folder, WHO_JUDGES)
    here = EXAMPLE.replace("https://api.openai.com", simulator.url).replace("https://api.anthropic.com", simulator.url)
    applied(folder, here.replace("name: openai,", "name: openai, retries: 0,"))
    writer_of(shared_gateway, pg, valkey).drain()  # opens the ledger, and counts the new budgets
    shared_gateway.wait_for_config(world.version())
    return shared_gateway


@pytest.fixture
def client(served: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_its_routes_answer_both_kinds_of_clients(client: openai.OpenAI, served: Gateway) -> None:
    """S0-05, S0-07: `smart` is a name of the file; OpenAI's client gets Anthropic's model by it."""
    asked = client.chat.completions.with_raw_response.create(
        model="smart", messages=[{"role": "user", "content": HELLO}], user="u_1", max_tokens=20
    )
    told = asked.headers

    assert asked.parse().choices[0].message.content
    assert (told["x-llmobs-provider"], told["x-llmobs-model"]) == ("anthropic", "claude-sonnet-4-5")
    assert (told["x-llmobs-attempts"], told["x-llmobs-cache"]) == ("1", "off")
    assert float(told["x-llmobs-cost-usd"]) > 0
    assert float(told["x-llmobs-budget-remaining-usd"]) <= 1
    assert (told["x-ratelimit-limit-requests"], told["x-ratelimit-remaining-requests"]) == ("60", "59")
    assert told["x-ratelimit-limit-tokens"] == "500000"
    with anthropic.Anthropic(base_url=served.url, api_key=KEY, max_retries=0) as other:
        answer = other.messages.create(model="gpt-4o", max_tokens=9, messages=[{"role": "user", "content": HELLO}])
    assert answer.usage.output_tokens == 9


def test_a_model_that_the_key_may_not_use_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="claude-sonnet-4-5", messages=[{"role": "user", "content": HELLO}])


def test_a_call_that_names_no_ceiling_fits_the_budget_of_a_user(client: openai.OpenAI) -> None:
    """Anthropic's format demands one and refuses more than the model has: the model's own is sent, and held."""
    answer = client.chat.completions.create(model="smart", messages=[{"role": "user", "content": HELLO}], user="u_2")

    assert answer.usage is not None
    assert answer.usage.completion_tokens == 64_000  # the simulator takes it at its word


def test_its_second_candidate_answers_when_the_first_fails(client: openai.OpenAI) -> None:
    """S3-11: the other provider, after the retries that the first one allows."""
    other = client.chat.completions.with_raw_response.create(
        model="smart",
        messages=[{"role": "user", "content": f"[[simulate status=500, first=3]] {HELLO}"}],
        max_tokens=20,
    )

    assert (other.headers["x-llmobs-degraded"], other.headers["x-llmobs-provider"]) == ("fallback", "openai")
    assert other.headers["x-llmobs-attempts"] == "4"


def test_at_last_its_static_text_is_the_answer(client: openai.OpenAI, simulator: Running) -> None:
    """S4-05: when both providers fail."""
    simulator.simulator.faults = Faults(fail_rate=1.0, status=529)
    text = client.chat.completions.with_raw_response.create(
        model="smart", messages=[{"role": "user", "content": HELLO}], max_tokens=20
    )

    assert text.headers["x-llmobs-degraded"] == "static"
    assert text.parse().choices[0].message.content == Route.objects.get(name="smart").static_text


def test_without_a_last_resort_one_error_says_that_both_failed(
    client: openai.OpenAI, served: Gateway, simulator: Running, world: World
) -> None:
    """S0-30: who was tried, and the last one's own error."""
    world.pg.execute("UPDATE providers_route SET last_resort = '[]'")
    served.wait_for_config(world.version())
    simulator.simulator.faults = Faults(drop=True)

    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="smart", messages=[{"role": "user", "content": HELLO}], max_tokens=20)

    assert caught.value.response.headers["x-llmobs-reason"] == "provider_unavailable"
    assert "all 2 candidates failed" in caught.value.message
    for name in ("anthropic/claude-sonnet-4-5", "openai/gpt-4o"):
        assert name in caught.value.message
        assert name in caught.value.response.headers["x-llmobs-tried"]

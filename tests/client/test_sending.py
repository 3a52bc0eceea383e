"""`configure` in a process of its own, with the real collector behind it, away or slow."""

import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmobs.client.configuring import configure, traces_address
from llmobs.ingest.otlp.decode import decode
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution
from tests.gateway.running import Gateway

ROOT = Path(__file__).parents[2]
HEAD = """
import sys, time
from opentelemetry import trace
from llmobs.client import attribution, configure, headers
url, key = sys.argv[1:]
"""


def run(program: str, url: str, key: str) -> "subprocess.CompletedProcess[str]":
    """An application, from its start to its end."""
    return subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(program), url, key],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def received(gateway: Gateway) -> dict[str, Span]:
    return {span.name: span for entry in gateway.otlp() for span in decode(entry, Attribution(key_id=entry.key_id))}


def test_what_it_sends_is_attributed_and_goes_at_the_processs_end(gateway: Gateway, secret: str) -> None:
    done = run(
        """
        configure(url, key, service="shop", environment="production")
        with attribution(feature="chat", user="alice", session="s1"):
            with trace.get_tracer("app").start_as_current_span("chat"):
                pass
        """,
        gateway.url, secret,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    who = received(gateway)["chat"].attribution
    assert (who.service, who.environment, who.feature) == ("shop", "production", "chat")
    assert (who.user_id, who.session_id) == ("alice", "s1")


def test_it_joins_the_provider_that_is_there_and_is_configured_once(gateway: Gateway, secret: str) -> None:
    done = run(
        """
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        there = TracerProvider(resource=Resource.create({"service.name": "theirs"}))
        trace.set_tracer_provider(there)
        first = configure(url, key, service="ignored", environment="staging")
        assert configure(url + "/v1/", key) is first
        assert trace.get_tracer_provider() is there
        trace.get_tracer("app").start_span("joined").end()
        assert first.flush()
        assert not first.is_away
        """,
        gateway.url, secret,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    who = received(gateway)["joined"].attribution
    assert (who.service, who.environment) == ("theirs", "staging")
    assert len(gateway.otlp()) == 1


def test_the_gateways_span_of_a_call_joins_the_trace(gateway: Gateway, secret: str) -> None:
    done = run(
        """
        import openai
        configure(url, key)
        client = openai.OpenAI(base_url=url + "/v1", api_key=key)
        with attribution(feature="chat", user="bob"):
            with trace.get_tracer("app").start_as_current_span("request") as span:
                client.chat.completions.create(
                    model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], extra_headers=headers()
                )
        print(format(span.get_span_context().span_id, "016x"))
        """,
        gateway.url, secret,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    begin = gateway.begins()[0]
    request = received(gateway)["request"]
    assert begin.trace_id == request.trace_id
    assert begin.parent_span_id == request.span_id == bytes.fromhex(done.stdout.strip())
    assert (begin.attribution.feature, begin.attribution.user_id) == ("chat", "bob")


AWAY = """
import logging
logging.basicConfig(format="%(name)s %(message)s")
began = time.monotonic()
sending = configure(url, key, most_spans=100, timeout_seconds=0.3, exit_seconds=0.5, delay_seconds=0.05)
took = []
for number in range(3000):
    before = time.monotonic()
    trace.get_tracer("app").start_span("span").end()
    took.append(time.monotonic() - before)
assert not sending.flush()
trace.get_tracer("app").start_span("another").end()
assert not sending.flush()
assert sending.is_away
# Who waited for the collector would do so for each 100 of them: a pause or two are the machine's.
print("lost", sending.lost_spans, "slow", sorted(took)[-10])
"""


def test_a_collector_that_is_away_costs_the_application_one_sentence(free_address: str) -> None:
    began = time.monotonic()
    done = run(AWAY, free_address, "key")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("llmobs.client")]
    assert len(said) == 1
    assert f"spans are not taken at {free_address}/v1/traces" in said[0]
    assert "trace_exporter" not in done.stderr
    assert float(done.stdout.split()[-1]) < 0.2
    assert time.monotonic() - began < 60


def test_a_collector_that_never_answers_does_not_hold_up_the_end(silent_address: str) -> None:
    done = run(
        """
        configure(url, key, exit_seconds=0.3)
        trace.get_tracer("app").start_span("span").end()
        import atexit
        at = time.monotonic()
        atexit._run_exitfuncs()
        print(time.monotonic() - at)
        """,
        silent_address, "key",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 5


def test_a_key_that_is_not_known_is_said_and_nothing_is_raised(gateway: Gateway) -> None:
    done = run(
        """
        sending = configure(url, "nobody")
        trace.get_tracer("app").start_span("span").end()
        assert not sending.flush()
        """,
        gateway.url, "nobody",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "401" in done.stderr
    assert gateway.otlp() == []


def test_it_loads_nothing_of_the_product() -> None:
    done = subprocess.run(
        [
            sys.executable, "-X", "importtime", "-c",
            "import sys, llmobs.client; print(*(n for n in sys.modules if n.startswith(('llmobs', 'gateway', 'django', "
            "'celery', 'psycopg', 'redis', 'msgspec', 'numpy', 'structlog', 'cryptography', 'uvloop'))))",
        ],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    ours = sorted(f"llmobs.client.{file.stem}" for file in (ROOT / "llmobs/client").glob("[a-z]*.py"))
    assert sorted(done.stdout.split()) == ["llmobs", "llmobs.client", *ours]


@pytest.mark.parametrize(
    "url", ["http://h:4000", "http://h:4000/", "http://h:4000/v1", "http://h:4000/v1/", " http://h:4000/v1/traces "]
)
def test_the_address_may_be_what_other_settings_hold(url: str) -> None:
    assert traces_address(url) == "http://h:4000/v1/traces"


@pytest.mark.parametrize(
    ("url", "key"), [("", "k"), ("h:4000", "k"), ("http://", "k"), ("http://h", ""), ("http://h", "k\n")]
)
def test_what_cannot_be_is_refused_at_once(url: str, key: str) -> None:
    with pytest.raises(ValueError, match="llmobs: "):
        configure(url, key)


@pytest.fixture
def free_address() -> str:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def silent_address() -> Iterator[str]:
    """Takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"

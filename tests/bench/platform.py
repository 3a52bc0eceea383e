"""A platform of its own for a benchmark: `manage.py up` on a fresh folder, with a tenant, a key and budgets."""

import json
import os
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.machine import manage, running

SECRET = "llmobs-bench-0123456789abcdef0123456789abcdef"
SECRETS = {
    name: f"llmobs-{name}-0123456789abcdef0123456789abcdef" for name in ("cached", "bare", "guarded", "reporting")
}
CONFIGURATION = """
providers:
  - {{name: openai, dialect: openai, base_url: "http://127.0.0.1:{fast}/v1", credential: "env:BENCH_PROVIDER_KEY"}}
  - name: slow
    dialect: openai
    base_url: "http://127.0.0.1:{slow}/v1"
    credential: "env:BENCH_PROVIDER_KEY"
    prices_like: openai
routes:
  - {{name: gpt-4.1-mini, candidates: [{{provider: slow, model: gpt-4.1-mini}}]}}
  - {{name: fallback, candidates: [{{provider: openai, model: gpt-4o-mini}}, {{provider: slow, model: gpt-4.1-mini}}]}}
  - name: cheapest
    strategy: cheapest
    candidates: [{{provider: openai, model: gpt-4o-mini}}, {{provider: slow, model: gpt-4.1}}]
tenants:
  - slug: bench
    name: Bench
    content: full
    keys:
      - {{name: load, secret: "env:BENCH_KEY", feature: bench}}
      - {{name: cached, secret: "env:BENCH_CACHED_KEY", feature: bench, cache: exact}}
    budgets:
      - {{name: monthly, limit_usd: "100000", window: month, action: block}}
      - {{name: feature, limit_usd: "100000", window: day, scope: {{feature: bench}}, action: block}}
    limits:
      - {{unit: requests, per: minute, limit: 1000000000, scope: {{key: "*"}}}}
      - {{unit: tokens, per: minute, limit: 1000000000000, scope: {{key: "*"}}}}
    prompts:
      - {{name: greeting, messages: [{{role: system, content: "You answer for {{{{shop}}}} in one sentence."}}]}}
  - slug: bare
    name: Without limits and budgets
    content: full
    keys: [{{name: load, secret: "env:BENCH_BARE_KEY", feature: bench}}]
  - slug: guarded
    name: Guards that act
    content: full
    guards: {{injection: block, sensitive_input: mask, sensitive_output: mask}}
    keys: [{{name: load, secret: "env:BENCH_GUARDED_KEY", feature: bench}}]
    budgets:
      - {{name: monthly, limit_usd: "100000", window: month, action: block}}
      - {{name: feature, limit_usd: "100000", window: day, scope: {{feature: bench}}, action: block}}
    limits:
      - {{unit: requests, per: minute, limit: 1000000000, scope: {{key: "*"}}}}
      - {{unit: tokens, per: minute, limit: 1000000000000, scope: {{key: "*"}}}}
  - slug: reporting
    name: Reports by OTLP, redacted
    content: redacted
    keys: [{{name: load, secret: "env:BENCH_REPORTING_KEY"}}]
    budgets:
      - {{name: monthly, limit_usd: "100000", window: month, action: block}}
      - {{name: feature, limit_usd: "100000", window: day, scope: {{feature: search}}, action: block}}
"""


@dataclass(frozen=True)
class Platform:
    """A running platform: its data folder, its gateway's port, its pids by kind."""

    data: Path
    gateway_port: int
    supervisor: int

    def pids(self, kind: str) -> list[int]:
        return list(json.loads((self.data / "run.json").read_text())[kind])


@contextmanager
def platform(fast: int, slow: int, gateways: int = 1) -> Iterator[Platform]:
    """Up with one gateway or several, configured against provider stand-ins on these ports; ended with the block."""
    env = {"BENCH_KEY": SECRET, "BENCH_PROVIDER_KEY": "none"}
    env |= {f"BENCH_{name.upper()}_KEY": secret for name, secret in SECRETS.items()}
    with configured(CONFIGURATION.format(fast=fast, slow=slow), env, gateways) as up:
        yield up


@contextmanager
def configured(configuration: str, env: dict[str, str], gateways: int) -> Iterator[Platform]:
    """Up on a fresh folder with this configuration, whose secrets are in `env`; ended with the block."""
    with tempfile.TemporaryDirectory(prefix="llmobs-bench-") as folder:
        data = Path(folder)
        gateway_port, web_port = free_port(), free_port()
        command = [
            sys.executable, "manage.py", "up", "--data", str(data),
            "--gateway-port", str(gateway_port), "--web-port", str(web_port), "--gateway-workers", str(gateways),
        ]  # fmt: skip
        with running(command, env=env) as supervisor:
            up = Platform(data, gateway_port, supervisor)
            _wait_ready(gateway_port)
            file = data / "bench.yaml"
            file.write_text(configuration)
            os.environ.update(env)
            manage(data, "apply", str(file))
            yield up


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_ready(port: int, seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"the platform was not ready within {seconds:.0f} s")

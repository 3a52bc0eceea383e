"""A browser; and a whole platform: `manage.py up` on a folder of its own, with a simulator as its provider."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from llmobs.core.env import Place
from llmobs.ops.embedded_valkey import free_port
from llmobs.ops.simulator.running import Running, running

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 240
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")  # as .ci/chromium looks for them
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
CONFIGURATION = """
providers:
  - {{name: openai, dialect: openai, base_url: "{url}/v1", credential: "env:TEST_PROVIDER_KEY"}}
  - {{name: anthropic, dialect: anthropic, base_url: "{url}", credential: "env:TEST_PROVIDER_KEY"}}
tenants:
  - slug: acme
    name: Acme
    content: full
    keys: [{{name: prod, secret: "env:TEST_KEY", feature: support}}]
    budgets:
      - {{name: ever, limit_usd: "1000", window: total, action: block}}
      - {{name: per-user, limit_usd: "500", window: day, scope: {{user: "*"}}, action: block}}
"""


@dataclass(frozen=True)
class Platform:
    """A running platform and its provider's stand-in."""

    data: Path
    gateway_port: int
    web_port: int
    key: str
    provider: Running
    environment: dict[str, str]

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway_port}"

    @property
    def database_url(self) -> str:
        return str(self._connections["database_url"])

    @property
    def valkey_url(self) -> str:
        return str(self._connections["valkey_url"])

    @property
    def _connections(self) -> dict[str, object]:
        # As kept: the environment of the test run names other stores, and would win in `Place.connections`.
        return dict(json.loads(Place(self.data).connections_file.read_text()))

    def pids(self, kind: str) -> list[int]:
        return list(json.loads((self.data / "run.json").read_text())[kind])

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A management command on this platform's folder."""
        return subprocess.run(
            [sys.executable, "manage.py", *words, "--data", str(self.data)],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip


def wait_until(is_so: Callable[[], bool], seconds: float, what: str) -> None:
    """Ask every 50 ms; raises TimeoutError that says what was waited for."""
    until = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether a GET gives 200."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return int(response.status) == 200
    except (OSError, urllib.error.URLError):
        return False


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Headless Chromium; each test takes a context of its own."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    assert found, "no Chromium: install the package chromium, or name its path in CHROMIUM"
    # Playwright keeps an event loop in this thread, which Django would take for a view that blocks one.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        expect.set_options(timeout=30_000)
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Up with two gateways, configured, with a tenant `acme`, its key and two blocking budgets; ended afterwards."""
    folder = tmp_path_factory.mktemp("platform")
    gateway_port, web_port, key = free_port(), free_port(), "llmobs-test-key-of-acme-0123456789"
    kept = {
        name: value for name, value in os.environ.items() if not re.match("LLMOBS_|DATABASE_|VALKEY_|DJANGO_", name)
    }
    environment = {**kept, "TEST_KEY": key, "TEST_PROVIDER_KEY": "none"}
    command = [sys.executable, "manage.py", "up", "--data", str(folder), "--gateway-port", str(gateway_port)]
    command += ["--web-port", str(web_port), "--gateway-workers", "2"]
    with running() as provider:
        up = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        made = Platform(folder, gateway_port, web_port, key, provider, environment)
        try:
            for port in (gateway_port, web_port):
                url = f"http://127.0.0.1:{port}/readyz"
                wait_until(lambda url=url: answers(url), READY_SECONDS, f"{url} is ready")  # type: ignore[misc]
            file = folder / "acme.yaml"
            file.write_text(CONFIGURATION.format(url=provider.url))
            applied = made.manage("apply", str(file))
            assert applied.returncode == 0, applied.stdout + applied.stderr
            yield made
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(300)

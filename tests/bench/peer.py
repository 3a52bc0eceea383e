"""The peer: tensorzero's gateway (Rust, out of its own wheel) with its rate limits on, over the same mock and loads.

Its environment is made under `.work/bench/` from `peer.txt`, for nothing of it is ours. Its core, its Valkey's and the
generator's are those of our own gateway's phases.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmobs.ops.embedded_valkey import valkey_binary
from tests.bench.environment import interpreter
from tests.bench.machine import WORK, descendants, pin, resident_mb, running
from tests.bench.platform import free_port

PREFIX = "tensorzero::model_name::"
START = """
import sys, time
from tensorzero.tensorzero import _start_http_gateway
gateway = _start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=sys.argv[2], async_setup=False
)
print(gateway.base_url, flush=True)
while True:
    time.sleep(3600)
"""
SETTINGS = """
[rate_limiting]
enabled = true
[[rate_limiting.rules]]
always = true
model_inferences_per_minute = 1000000000
tokens_per_minute = 1000000000000
[gateway]
observability.enabled = false
disable_pseudonymous_usage_analytics = true
"""
MODEL = """
[models."{name}"]
routing = ["mock"]
[models."{name}".providers.mock]
type = "openai"
model_name = "{name}"
api_base = "http://127.0.0.1:{port}/v1/"
api_key_location = "none"
"""


@dataclass(frozen=True)
class Peer:
    """A running peer: the address of its chat completions, its processes."""

    url: str
    pid: int
    valkey: int

    def pids(self) -> list[int]:
        return descendants(self.pid)

    def memory_mb(self) -> float:
        return resident_mb(self.pids())


@contextmanager
def peer(fast: int, slow: int, models: dict[str, bool]) -> Iterator[Peer | None]:
    """Running on core 0, with these models (name: slow) on the mock's two ports; None where it cannot be had."""
    found = interpreter("peer")
    if found is None:
        yield None
        return
    settings = WORK / "peer.toml"
    settings.write_text(
        SETTINGS + "".join(MODEL.format(name=name, port=slow if is_slow else fast) for name, is_slow in models.items())
    )
    port = free_port()
    with running([str(valkey_binary()), "--port", str(port), "--save", ""], core=1) as valkey:
        process = subprocess.Popen(
            [str(found), "-c", START, str(settings), f"redis://127.0.0.1:{port}"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            base = next((line for line in process.stdout if line.startswith("http")), "").strip()
            if not base:
                print("the peer did not start: no ratios to it")
                yield None
                return
            pin(descendants(process.pid), 0)
            yield Peer(f"{base.removeprefix('http://')}/chat/completions", process.pid, valkey)
        finally:
            process.kill()
            process.wait(30)


def body(path: str) -> str:
    """The same request as the peer takes it: it names its models by a prefix."""
    request = json.loads(Path(path).read_text())
    request["model"] = PREFIX + request["model"]
    copy = Path(path).with_suffix(".peer.json")
    copy.write_text(json.dumps(request, separators=(",", ":")))
    return str(copy)

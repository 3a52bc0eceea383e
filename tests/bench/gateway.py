"""The gateway on one core: requests/s and CPU per request and per streamed chunk, beside the mock asked directly.

Core 0 is the gateway's; mock, load generator and everything else share core 1. The writer and the stores' work on
core 1 competes with the generator, so the writer is stopped while a phase runs and drains its journal afterwards.
"""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.machine import WORK, compiled, cpu_seconds, descendants, pin, resident_mb, running
from tests.bench.peer import Peer, peer
from tests.bench.peer import body as body_for
from tests.bench.platform import SECRET, SECRETS, Platform, free_port, platform

SECONDS = 8
TURNS = 2
FEATURE_SECONDS = 4
DRAIN_SECONDS = 20
CONNECTIONS = 64
STREAMS = 128


@dataclass(frozen=True)
class Load:
    """What a phase measured; `cpu_ms` is the gateway's per answered request."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    cpu_us_per_event: float
    valkey_ms: float
    bad: int
    ttft_ms: float


def body(name: str, model: str, is_stream: bool, kilobytes: int = 1) -> str:
    """A request body of about this size, in a file; returns its path."""
    WORK.mkdir(parents=True, exist_ok=True)
    sentence = "A customer writes: my parcel was to arrive on Monday, and the tracking page has not changed since. "
    content = sentence * max(1, kilobytes * 1024 // len(sentence) - 2)
    request: dict[str, object] = {
        "model": model,
        "messages": [{"role": "system", "content": sentence}, {"role": "user", "content": content}],
        "temperature": 0.2,
        "max_tokens": 256,
    }
    if is_stream:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    path = WORK / f"{name}.json"
    path.write_text(json.dumps(request, separators=(",", ":")))
    return str(path)


def load(
    url: str,
    path: str,
    connections: int,
    pids: list[int],
    valkey: list[int],
    seconds: int = SECONDS,
    secret: str = SECRET,
    headers: tuple[str, ...] = (),
) -> Load:
    """Closed loop of `connections` from core 1 for `seconds`."""
    command = [
        "taskset", "-c", "1", str(compiled("gwload")), "-u", url, "-b", path, "-c", str(connections),
        "-d", str(seconds), "-H", f"Authorization: Bearer {secret}",
    ]  # fmt: skip
    for header in headers:
        command += ["-H", header]
    cpu, theirs = cpu_seconds(pids), cpu_seconds(valkey)
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    cpu, theirs = cpu_seconds(pids) - cpu, cpu_seconds(valkey) - theirs
    answered = max(1, result["ok"])
    if result["bad"]:
        print("  answers that were not 200:", result["bad"], result["badbody"][:200])
    return Load(
        result["rps"], result["p50"], result["p99"], cpu * 1000 / answered,
        cpu * 1e6 / max(1, result["events"]), theirs * 1000 / answered, result["bad"], result["ttfb50"],
    )  # fmt: skip


def chat(port: int) -> str:
    return f"127.0.0.1:{port}/v1/chat/completions"


def phase(
    up: Platform, path: str, connections: int, seconds: int = SECONDS, secret: str = SECRET, *headers: str
) -> Load:
    """One phase with the writer stopped; afterwards it drains."""
    writers = up.pids("writer")
    for pid in writers:
        os.kill(pid, signal.SIGSTOP)
    try:
        pids, valkey = up.pids("gateway"), up.pids("valkey")
        return load(chat(up.gateway_port), path, connections, pids, valkey, seconds, secret, headers)
    finally:
        for pid in writers:
            os.kill(pid, signal.SIGCONT)


def beside(up: Platform, theirs: Peer | None, path: str, connections: int) -> tuple[Load, Load | None]:
    """Ours and the peer's in turns; of each the turn with the least CPU a request."""
    ours, others = [], []
    for _ in range(TURNS):
        ours.append(phase(up, path, connections))
        if theirs is not None:
            others.append(load(theirs.url, body_for(path), connections, theirs.pids(), [theirs.valkey]))
    answered = [other for other in others if other.requests_per_second and other.cpu_ms]
    return min(ours, key=cpu_of), min(answered, key=cpu_of, default=None)


def cpu_of(measured: Load) -> float:
    return measured.cpu_ms


def row(name: str, ours: float, unit: str, theirs: float | None = None) -> None:
    """One line of the table, with the peer's figure and the ratio where there is one."""
    beside_it = "" if theirs is None else f"   peer {theirs:10.3f}   {ours / theirs:.2f} x"
    print(f"  {name:36} {ours:11.3f} {unit:10}{beside_it}")


def features(up: Platform, small: str) -> None:
    """What each costs when it is on, beside the same call without it."""
    prompted = json.loads(Path(small).read_text()) | {"metadata": {"variables": {"shop": "Atlas"}}}
    path = WORK / "chat_prompted.json"
    path.write_text(json.dumps(prompted, separators=(",", ":")))
    base = phase(up, small, CONNECTIONS, FEATURE_SECONDS).cpu_ms
    print(f"what each feature costs, CPU ms a request (two limits and two budgets: {base:.3f})")
    rows = {
        "no limits, no budgets": phase(up, small, CONNECTIONS, FEATURE_SECONDS, SECRETS["bare"]),
        "a route with a fallback": phase(up, routed(small, "fallback"), CONNECTIONS, FEATURE_SECONDS),
        "a route by price": phase(up, routed(small, "cheapest"), CONNECTIONS, FEATURE_SECONDS),
        "guards that mask and block": phase(up, small, CONNECTIONS, FEATURE_SECONDS, SECRETS["guarded"]),
        "a prompt": phase(up, str(path), CONNECTIONS, FEATURE_SECONDS, SECRET, "x-llmobs-prompt: greeting"),
        "the cache, stored each time": phase(
            up, small, CONNECTIONS, FEATURE_SECONDS, SECRETS["cached"], "x-llmobs-cache: refresh"
        ),
        "the cache, a hit": phase(up, small, CONNECTIONS, FEATURE_SECONDS, SECRETS["cached"]),
    }
    for name, row in rows.items():
        print(f"  {name:36}  {row.cpu_ms:9.3f} ms   {row.cpu_ms - base:+.3f}")


def routed(path: str, route: str) -> str:
    request = json.loads(Path(path).read_text()) | {"model": route}
    copy = WORK / f"chat_{route}.json"
    copy.write_text(json.dumps(request, separators=(",", ":")))
    return str(copy)


def main() -> None:
    """Print the gateway's table."""
    fast, slow = free_port(), free_port()
    mock = [str(compiled("mock")), f"{fast}:0:0:64", f"{slow}:0:10:100"]
    small, stream = body("chat", "gpt-4o-mini", False), body("chat_stream", "gpt-4.1-mini", True)
    big = body("chat_big", "gpt-4o-mini", False, 300)
    models = {"gpt-4o-mini": False, "gpt-4.1-mini": True}
    with running(mock, core=1) as mock_pid, platform(fast, slow) as up, peer(fast, slow, models) as theirs:
        others = set(descendants(up.supervisor)) - set(up.pids("gateway"))
        pin([*others, mock_pid], 1)
        pin(up.pids("gateway"), 0)
        floor = load(chat(fast), small, CONNECTIONS, [mock_pid], [], 3)
        load(chat(up.gateway_port), small, 16, up.pids("gateway"), [], 2)  # warm
        one, peers = beside(up, theirs, small, CONNECTIONS)
        streamed, peers_streamed = beside(up, theirs, stream, STREAMS)
        large, peers_large = beside(up, theirs, big, 8)
        time.sleep(DRAIN_SECONDS)  # what the phases before it left to the writer
        calm, direct = phase(up, stream, 4, 3), load(chat(slow), stream, 4, [mock_pid], [], 3)
        memory, peers_memory = resident_mb(up.pids("gateway")), theirs.memory_mb() if theirs else None
        print("gateway, one core, 1 KB requests: key, two limits, two budgets held and settled, the span journalled")
        print("  (the peer: tensorzero with its rate limits on, same core, same mock)")
        row("floor: the mock asked directly", floor.requests_per_second, "requests/s")
        row(
            f"{CONNECTIONS} connections",
            one.requests_per_second,
            "requests/s",
            peers.requests_per_second if peers else None,
        )
        row("p50", one.p50_ms, "ms", peers.p50_ms if peers else None)
        row("p99", one.p99_ms, "ms", peers.p99_ms if peers else None)
        row("CPU per request", one.cpu_ms, "ms", peers.cpu_ms if peers else None)
        row("Valkey's CPU per request", one.valkey_ms, "ms", peers.valkey_ms if peers else None)
        row(
            f"CPU per chunk, {STREAMS} streams (aim ≤ 25)", streamed.cpu_us_per_event, "µs",
            peers_streamed.cpu_us_per_event if peers_streamed else None,
        )  # fmt: skip
        row("first byte, 4 streams (aim: 1 later)", calm.ttft_ms, "ms")
        row("first byte, asked directly", direct.ttft_ms, "ms")
        row("CPU per 300 KB request (aim ≤ 1.3)", large.cpu_ms, "ms", peers_large.cpu_ms if peers_large else None)
        row("memory (aim ≤ 100)", memory, "MB", peers_memory)
        features(up, small)
    with running(mock) as mock_pid, platform(fast, slow, gateways=2) as up:
        load(chat(up.gateway_port), small, 16, up.pids("gateway"), [], 2)
        two = phase(up, small, CONNECTIONS)
        print(f"two gateways behind one port            {two.cpu_ms:9.3f} ms of CPU a request: two cores of them give")
        print(
            f"                                        {2 * one.cpu_ms / two.cpu_ms:9.2f} x what one gives (aim ≥ 1.8)"
        )


if __name__ == "__main__":
    main()

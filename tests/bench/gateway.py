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

from tests.bench.machine import WORK, compiled, cpu_seconds, descendants, pin, resident_mb, running
from tests.bench.platform import SECRET, Platform, free_port, platform

SECONDS = 8
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


def load(port: int, path: str, connections: int, pids: list[int], valkey: list[int], seconds: int = SECONDS) -> Load:
    """Closed loop of `connections` from core 1 for `seconds`."""
    command = [
        "taskset", "-c", "1", str(compiled("gwload")), "-u", f"127.0.0.1:{port}/v1/chat/completions", "-b", path,
        "-c", str(connections), "-d", str(seconds), "-H", f"Authorization: Bearer {SECRET}",
    ]  # fmt: skip
    cpu, theirs = cpu_seconds(pids), cpu_seconds(valkey)
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    cpu, theirs = cpu_seconds(pids) - cpu, cpu_seconds(valkey) - theirs
    answered = max(1, result["ok"])
    if result["bad"]:
        print("  answers that were not 200:", result["bad"], result["badbody"][:200])
    return Load(
        result["rps"], result["p50"], result["p99"], cpu * 1000 / answered,
        cpu * 1e6 / max(1, result["events"]), theirs * 1000 / answered, result["bad"],
    )  # fmt: skip


def phase(up: Platform, path: str, connections: int) -> Load:
    """One phase with the writer stopped; afterwards it drains."""
    writers = up.pids("writer")
    for pid in writers:
        os.kill(pid, signal.SIGSTOP)
    try:
        return load(up.gateway_port, path, connections, up.pids("gateway"), up.pids("valkey"))
    finally:
        for pid in writers:
            os.kill(pid, signal.SIGCONT)


def main() -> None:
    """Print the gateway's table."""
    fast, slow = free_port(), free_port()
    mock = [str(compiled("mock")), f"{fast}:0:0:64", f"{slow}:0:10:100"]
    small, stream = body("chat", "gpt-4o-mini", False), body("chat_stream", "gpt-4.1-mini", True)
    big = body("chat_big", "gpt-4o-mini", False, 300)
    with running(mock, core=1) as mock_pid, platform(fast, slow) as up:
        others = set(descendants(up.supervisor)) - set(up.pids("gateway"))
        pin([*others, mock_pid], 1)
        pin(up.pids("gateway"), 0)
        floor = load(fast, small, CONNECTIONS, [mock_pid], [], 3)
        load(up.gateway_port, small, 16, up.pids("gateway"), [], 2)  # warm
        one = phase(up, small, CONNECTIONS)
        time.sleep(2)
        streamed = phase(up, stream, STREAMS)
        time.sleep(2)
        large = phase(up, big, 8)
        memory = resident_mb(up.pids("gateway"))
    print("gateway, one core, 1 KB requests, key + two budgets held and settled + span journalled")
    print(f"  floor: the mock asked directly        {floor.requests_per_second:9.0f} requests/s")
    print(
        f"  {CONNECTIONS} connections                        {one.requests_per_second:9.0f} requests/s"
        f"   {one.requests_per_second / floor.requests_per_second:.3f} of the floor   p50 {one.p50_ms:.2f} ms"
        f"   p99 {one.p99_ms:.2f} ms"
    )
    print(f"  CPU per request                       {one.cpu_ms:9.3f} ms (aim ≤ 0.25); Valkey {one.valkey_ms:.3f} ms")
    print(f"  CPU per streamed chunk, {STREAMS} streams   {streamed.cpu_us_per_event:9.1f} µs (aim ≤ 40)")
    print(f"  CPU per 300 KB request                {large.cpu_ms:9.2f} ms")
    print(f"  memory of the gateway                 {memory:9.0f} MB (aim ≤ 120)")


if __name__ == "__main__":
    main()

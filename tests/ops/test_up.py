"""`manage.py up` as a process of its own, with its embedded stores."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import psycopg
import pytest

from llmobs.core.env import Place
from llmobs.ops.management.commands.up import default_writers
from llmobs.ops.platform import listen, take_folder
from tests.ops.test_supervisor import pids, until

ROOT = Path(__file__).parents[2]
KILLED = ("postgres", "valkey", "web", "collector")


def up(place: Place, *arguments: str) -> "subprocess.Popen[str]":
    env = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "VALKEY_URL", "DJANGO_SETTINGS_MODULE")}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "up", "--data", str(place.folder), *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data")


@pytest.fixture
def platform(place: Place) -> "Iterator[subprocess.Popen[str]]":
    process = up(place, "--web-port", "0", "--gateway-port", "0", "--otlp-grpc", "--otlp-grpc-port", "0")
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=300)


def lines_until(process: "subprocess.Popen[str]", words: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"it ended without saying {words!r}: {seen}")


def answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def test_it_refuses_a_taken_folder(place: Place) -> None:
    with take_folder(place):
        process = up(place)
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 2
    assert f"the data folder {place.folder} is taken" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--web-port", "99999"), "there is no port 99999"),
        (("--gateway-port", "-1"), "there is no port -1"),
        (("--otlp-grpc", "--otlp-grpc-port", "70000"), "there is no port 70000"),
        (("--otlp-grpc", "--otlp-grpc-port", "0", "--otlp-grpc-state-port", "70000"), "there is no port 70000"),
        (("--host", "nonsense.invalid"), "'nonsense.invalid' is no address of this machine"),
        (("--host", "192.0.2.1"), "192.0.2.1 is no address of this machine"),
    ],
)
def test_an_address_that_cannot_be_is_refused_in_a_sentence(
    place: Place, arguments: tuple[str, ...], said: str
) -> None:
    process = up(place, *arguments)
    answer, _ = process.communicate(timeout=300)

    assert process.returncode == 2
    assert said in answer
    assert "Traceback" not in answer


@pytest.mark.parametrize("command", ["verify", "doctor"])
def test_a_command_without_its_platform_says_how_to_start_it(place: Place, command: str) -> None:
    env = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "VALKEY_URL", "DJANGO_SETTINGS_MODULE")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), command, "--data", str(place.folder)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith(f"llmobs: no platform runs on {place.folder}: start it with")


def test_a_reader_who_has_seen_enough_is_no_error(place: Place) -> None:
    command = [sys.executable, str(ROOT / "manage.py"), "help", "--data", str(place.folder)]
    nobody_reads, written = os.pipe()
    os.close(nobody_reads)

    done = subprocess.run(command, stdout=written, stderr=subprocess.PIPE, text=True, check=False)

    os.close(written)
    assert (done.returncode, done.stderr) == (1, "")


def test_it_refuses_a_taken_port_and_starts_nothing(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = up(place, "--gateway-port", "0", "--web-port", str(port))
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 2
    assert f"port {port} on 127.0.0.1" in said
    assert "--web-port" in said
    assert not place.postgres.exists()


def test_it_starts_everything_again_after_a_kill_and_ends_cleanly(
    place: Place, platform: "subprocess.Popen[str]"
) -> None:
    said = lines_until(platform, "llmobs is up")
    secrets = json.loads(place.secrets_file.read_bytes())
    assert f"Sign in as admin with the password {secrets['admin_password']}" in said
    web_port = place_connections(place)["web_port"]
    until(lambda: answers(web_port, "/readyz"), 180)
    assert roles(place) == {"llmobs", "llmobs_web"}  # the second is the web's alone (docs/walls.md)

    first = pids(place)
    assert {kind: len(found) for kind, found in first.items()} == dict.fromkeys(first, 1) | {
        "writer": default_writers()
    }
    for kind in KILLED:
        os.kill(first[kind][0], signal.SIGKILL)
    until(lambda: all(pids(place).get(kind, []) not in ([], first[kind]) for kind in KILLED), 120)
    until(lambda: answers(web_port, "/readyz"), 120)
    connections = place_connections(place)
    assert refuses_strangers(connections["otlp_grpc_port"])
    until(lambda: answers(connections["otlp_grpc_state_port"], "/readyz"), 120)  # on its port still, after its kill
    last = [pid for found in pids(place).values() for pid in found]

    platform.send_signal(signal.SIGTERM)
    rest, _ = platform.communicate(timeout=400)
    assert platform.returncode == 0
    # A disk that others write on may keep PostgreSQL's last checkpoint for longer than it is given.
    assert "is killed" not in rest.replace("postgres did not end in its time and is killed", "")
    assert not any(psutil.pid_exists(pid) for pid in last)
    assert not place.run_file.exists()


def test_after_its_own_kill_it_starts_on_the_same_folder_and_ports(place: Place) -> None:
    first = up(place, "--web-port", "0", "--gateway-port", "0")
    lines_until(first, "llmobs is up")
    ports = place_connections(place)
    left = [pid for found in pids(place).values() for pid in found]
    first.kill()
    first.communicate()
    second = up(place, "--web-port", str(ports["web_port"]), "--gateway-port", str(ports["gateway_port"]))
    try:
        lines_until(second, "llmobs is up")
        assert not set(left) & {process.pid for process in psutil.process_iter() if is_alive(process)}
        until(lambda: answers(ports["web_port"], "/readyz"), 120)
    finally:
        second.send_signal(signal.SIGTERM)
        second.communicate(timeout=300)
    assert second.returncode == 0


def is_alive(process: psutil.Process) -> bool:
    return bool(process.status() != psutil.STATUS_ZOMBIE)


def refuses_strangers(port: int) -> bool:
    """Whether OTLP/gRPC is answered there: by whoever knows who may send."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(timeout=120)
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.RpcError) as failed:
            export(b"", timeout=60, metadata=[("x-api-key", "nobody")])
    return bool(failed.value.code() is grpc.StatusCode.UNAUTHENTICATED)


def roles(place: Place) -> set[str]:
    """Who is connected to PostgreSQL."""
    with psycopg.connect(str(place_connections(place)["database_url"])) as conn:
        return {name for (name,) in conn.execute("SELECT usename FROM pg_stat_activity WHERE usename IS NOT NULL")}


def place_connections(place: Place) -> dict[str, int]:
    found: dict[str, int] = json.loads(place.connections_file.read_bytes())
    return found


def test_answers_do_not_wait_for_acknowledgements() -> None:
    with listen("127.0.0.1", 0, "--web-port") as door, socket.create_connection(door.getsockname()):
        taken, _ = door.accept()
        with taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1

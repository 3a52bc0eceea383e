"""The production shape, without an engine: the file parses, its commands exist, its variables are known."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from llmobs.core.env import VARIABLES

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "llmobs"}
# Read by the stores' own images, or by the compose file itself.
OTHERS = {
    "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "WEB_POSTGRES_PASSWORD", "VALKEY_PASSWORD", "REDISCLI_AUTH",
    "RABBITMQ_DEFAULT_USER",
    "RABBITMQ_DEFAULT_PASS", "RABBITMQ_PASSWORD", "GATEWAY_PORTS", "OTLP_GRPC_PORT", "WEB_PORT", "PROXY_ADDRESSES",
}  # fmt: skip


def test_it_has_every_process_and_the_stores() -> None:
    assert set(COMPOSE["services"]) == {
        "postgres", "valkey", "rabbitmq", "migrate", "gateway", "collector", "writer", "web", "worker", "beat"
    }  # fmt: skip
    assert set(OURS) == {"migrate", "gateway", "collector", "writer", "web", "worker", "beat"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_command_exists(name: str) -> None:
    command = OURS[name]["command"]
    if command[:2] == ["sh", "-c"]:
        command = command[2].removeprefix("exec ").split()
    assert command[0] == "python"
    if command[1] == "manage.py":
        assert command[2] in get_commands()
    else:
        assert command[1] == "-m"
        assert _is_runnable(command[2]), command[2]


@pytest.mark.parametrize(("name", "owner"), [("gateway", "gateway"), ("collector", "otlp-grpc")])
def test_each_way_in_has_a_journal_of_its_own(name: str, owner: str) -> None:
    assert f"--owner {owner}-$$(cat /proc/sys/kernel/random/uuid)" in OURS[name]["command"][2]


@pytest.mark.parametrize(
    ("name", "published", "asked"), [("gateway", 4000, 4000), ("collector", 4317, 4319), ("web", 8000, 8000)]
)
def test_what_listens_is_reached_and_asked_for_its_health(name: str, published: int, asked: int) -> None:
    service = OURS[name]
    assert [port.rpartition(":")[2] for port in service["ports"]] == [str(published)]
    assert service["healthcheck"]["test"][-1] == f"http://127.0.0.1:{asked}/readyz"
    command = " ".join(service["command"])
    assert f"port {published}" in command
    assert f"port {asked}" in command
    assert "--host 0.0.0.0" in command
    assert str(published) in re.findall(r"^EXPOSE (.+)$", (ROOT / "Dockerfile").read_text(), re.M)[0].split()


def test_the_collectors_command_is_understood() -> None:
    command = OURS["collector"]["command"][2].split()
    options = {word for word in command if word.startswith("--")}
    told = subprocess.run(
        [sys.executable, "-m", "gateway.grpc_collector", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert options == {"--host", "--port", "--state-port", "--owner"}
    assert all(option in told for option in options)


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_health_check_names_a_module(name: str) -> None:
    check = OURS[name].get("healthcheck")
    if check is not None:
        assert check["test"][:3] == ["CMD", "python", "-m"]
        assert _is_runnable(check["test"][3])


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_variable_of_ours_is_one_that_we_read(name: str) -> None:
    assert OURS[name]["environment"].keys() <= VARIABLES.keys()


def test_each_variable_it_asks_for_is_known() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    assert asked <= VARIABLES.keys() | OTHERS


def test_all_of_ours_share_secrets_journals_and_stores() -> None:
    for service in OURS.values():
        assert service["volumes"] == ["data:/data"]
        assert {"LLMOBS_DATA", "DATABASE_URL", "VALKEY_URL"} <= service["environment"].keys()


def test_the_ledger_evicts_nothing_and_keeps_nothing() -> None:
    command = COMPOSE["services"]["valkey"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert (options["--save"], options["--appendonly"], options["--maxmemory-policy"]) == ("", "no", "noeviction")


def test_the_image_holds_what_the_commands_need() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = [path for line in re.findall(r"^COPY (.+)$", dockerfile, re.M) for path in line.split()[:-1]]
    assert {"requirements.txt", "manage.py", "llmobs", "gateway", "dashboards"} <= set(copied)
    assert all((ROOT / path).exists() for path in copied)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) <= allowed
    assert re.search(r"^USER llmobs$", dockerfile, re.M)


def test_every_variable_that_is_read_is_listed_with_its_meaning() -> None:
    read: set[str] = set()
    reader = re.compile(r"""(?:read_(?:str|int|bool|list)|environ\.get)\(\s*"([A-Z_]+)\"""")
    for folder in ("llmobs", "gateway", "dashboards"):
        for path in (ROOT / folder).rglob("*.py"):
            read |= set(reader.findall(path.read_text()))
    assert read - {"PYTHONPATH"} <= VARIABLES.keys()


def _is_runnable(module: str) -> bool:
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.submodule_search_locations is not None:
        return importlib.util.find_spec(f"{module}.__main__") is not None
    return spec is not None

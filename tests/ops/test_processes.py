"""What `up` runs: as many writers as asked for, and in each gateway a journal for each of them."""

from pathlib import Path
from socket import socket

import pytest

from llmobs.core.env import Place
from llmobs.ops.platform import Doors, Wishes, _programs
from llmobs.ops.processes import Program


def programs(tmp_path: Path, wishes: Wishes) -> list[Program]:
    with socket() as gateway:
        return _programs(Place(tmp_path), wishes, Doors(gateway, None, gateway))


def test_each_writer_has_a_number_and_a_name_of_its_own(tmp_path: Path) -> None:
    found = [each for each in programs(tmp_path, Wishes(writers=3)) if each.kind == "writer"]
    assert [each.name for each in found] == ["writer", "writer-2", "writer-3"]
    assert [list(each.command())[-2:] for each in found] == [["--number", number] for number in "123"]


@pytest.mark.parametrize(
    ("gateways", "writers", "lanes"), [(1, 1, "1"), (1, 2, "2"), (2, 2, "1"), (2, 3, "2"), (4, 2, "1")]
)
def test_gateways_have_a_journal_for_each_writer(tmp_path: Path, gateways: int, writers: int, lanes: str) -> None:
    wishes = Wishes(gateway_workers=gateways, writers=writers)
    commands = [list(each.command()) for each in programs(tmp_path, wishes) if each.kind == "gateway"]
    assert [command[command.index("--lanes") + 1] for command in commands] == [lanes] * gateways


def test_the_grpc_collector_tells_its_state_on_the_socket_that_it_is_given(tmp_path: Path) -> None:
    assert not [each for each in programs(tmp_path, Wishes()) if each.kind == "collector"]
    [found] = [each for each in programs(tmp_path, Wishes(otlp_grpc_port=4317)) if each.kind == "collector"]
    command = list(found.command())
    assert command[command.index("--state-fd") + 1] == str(found.pass_fds[0])

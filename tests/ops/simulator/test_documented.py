"""docs/simulator.md names every directive and every address."""

from dataclasses import fields
from pathlib import Path

import pytest

from llmobs.ops.simulator.faults import Faults
from llmobs.ops.simulator.server import Simulator

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "simulator.md").read_text()


@pytest.mark.parametrize("directive", [field.name for field in fields(Faults) if field.name != "fail_rate"])
def test_a_directive_is_documented(directive: str) -> None:
    assert f"`{directive}" in PAGE


def test_addresses_are_documented() -> None:
    assert [path for path, _ in Simulator().wires if f"/v1{path.decode()}`" not in PAGE] == []

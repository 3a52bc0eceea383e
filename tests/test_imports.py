"""The rooms and their directions (pyproject.toml, import-linter)."""

import pytest
from importlinter import cli


def test_imports_point_the_way_they_should(capsys: pytest.CaptureFixture[str]) -> None:
    status = cli.lint_imports(no_cache=True)
    assert status == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out

"""The rooms and their directions (pyproject.toml, import-linter)."""

from importlinter import cli
from pytest import CaptureFixture


def test_imports_point_the_way_they_should(capsys: CaptureFixture[str]) -> None:
    status = cli.lint_imports(no_cache=True)
    assert status == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out

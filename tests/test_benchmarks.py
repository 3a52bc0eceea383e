"""The benchmarks, which do not run with the tests, at least import: a change of what they drive is seen here."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "bench"
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("__"))


@pytest.mark.parametrize("name", MODULES)
def test_a_benchmark_imports(name: str) -> None:
    importlib.import_module(f"tests.bench.{name}")

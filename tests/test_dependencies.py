"""Each library that the product imports is pinned, and has its reason in ARCHITECTURE.md."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"llmobs", "gateway", "dashboards", "tests"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported_modules() -> list[str]:
    """Top-level third-party modules that the product imports."""
    modules: set[str] = set()
    for folder in ("llmobs", "gateway", "dashboards"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                    modules.add(node.module.split(".")[0])
    return sorted(modules - OURS - set(sys.stdlib_module_names))


def pinned_names() -> set[str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return {normal(line.split("==")[0].split("[")[0]) for line in lines if "==" in line}


@pytest.mark.parametrize("module", imported_modules())
def test_an_imported_library_is_pinned_and_has_its_reason(module: str) -> None:
    reasons = normal((ROOT / "ARCHITECTURE.md").read_text().split("## Libraries")[1])
    # Namespace packages (opentelemetry) come from several distributions: one of them must do.
    brings = {normal(distribution) for distribution in packages_distributions()[module]}
    assert any(distribution in pinned_names() and distribution in reasons for distribution in brings), brings


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt", "requirements-bridge.txt"])
def test_pins_name_exact_versions_and_no_address(file: str) -> None:
    lines = [line.split("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    wrong = [line for line in lines if line and not re.fullmatch(r"(-r requirements\.txt|[\w.\-\[\],]+==[\w.]+)", line)]
    assert wrong == []


def test_litellm_is_nowhere() -> None:
    assert "litellm" not in pinned_names()

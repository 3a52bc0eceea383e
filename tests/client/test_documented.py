"""The page of sending names what there is."""

import ast
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import llmobs.client
from llmobs.client import Sending, attribution, configure
from llmobs.client.attributing import ATTRIBUTES
from llmobs.ingest.otlp.logs import CONTENT_EVENTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/sending.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ARGUMENTS = inspect.signature(configure).parameters


@pytest.mark.parametrize(
    "name",
    [
        *ARGUMENTS, *llmobs.client.__all__, *ATTRIBUTES.values(), *(f"x-llmobs-{name}" for name in ATTRIBUTES),
        *CONTENT_EVENTS, *(name for name in vars(Sending) if not name.startswith(("_", "on_", "force"))),
    ],
)  # fmt: skip
def test_every_name_is_told(name: str) -> None:
    assert re.search(rf"`{re.escape(name)}\b", PAGE) or re.search(rf"\b{re.escape(name)}[=(]", PAGE)


@pytest.mark.parametrize(("name", "told"), re.findall(r"^\| `(\w+)` .*\| `?([\w.]+)`? \|$", PAGE, re.MULTILINE))
def test_a_default_is_the_one_that_is_told(name: str, told: str) -> None:
    assert float(ARGUMENTS[name].default) == float({"True": "1"}.get(told, told))


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_snippet_uses_the_client_as_it_is(snippet: str) -> None:
    calls = [node for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Call)]
    for call in calls:
        known: Any = {"configure": configure, "attribution": attribution}.get(getattr(call.func, "id", ""))
        if known is not None:
            named = {word.arg: None for word in call.keywords if word.arg is not None}
            inspect.signature(known).bind(*call.args, **named)


def test_it_is_installed_with_what_it_imports_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "llmobs/client/pyproject.toml").read_text())["project"]
    asked = {re.split(r"[>=<]", name)[0] for name in project["dependencies"]}
    assert asked == {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"}

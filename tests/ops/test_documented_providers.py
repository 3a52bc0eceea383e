"""The documentation's examples are files that `apply` takes, and its tables name every field."""

import re
from pathlib import Path

import pytest
from django.core.management import call_command

from llmobs.ops.configuring.entry import Entry
from llmobs.ops.configuring.providers import ProviderEntry
from llmobs.ops.configuring.routes import CandidateEntry, RouteEntry
from llmobs.providers.models import Provider
from llmobs.tenants.models import Tenant

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/providers.md"


def examples() -> list[tuple[str, str]]:
    """Every YAML block of the pages, each with its place."""
    found = []
    for page in (ROOT / "README.md", PAGE):
        text = page.read_text()
        for block in re.finditer(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            found.append((f"{page.name}:{text[: block.start()].count(chr(10)) + 1}", block[1]))
    return found


@pytest.mark.django_db
@pytest.mark.parametrize(("place", "example"), examples(), ids=[place for place, _ in examples()])
def test_an_example_can_be_applied(
    place: str, example: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """S3-06: OpenAI, Anthropic, Azure, Groq, Together, OpenRouter, vLLM and Ollama are entries of a file, not code."""
    file = tmp_path / "example.yaml"
    file.write_text(example)

    call_command("apply", str(file), "--dry-run")

    assert "created" in capsys.readouterr().out
    assert not Provider.objects.exists()
    assert not Tenant.objects.exists()


@pytest.mark.parametrize("kind", [ProviderEntry, RouteEntry, CandidateEntry])
def test_every_field_is_documented(kind: type[Entry]) -> None:
    text = PAGE.read_text()
    assert [field for field in kind.__struct_fields__ if f"`{field}`" not in text] == []

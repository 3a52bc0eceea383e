"""The page on a call's way says what the gateway does: every stage, header and reason."""

import re
from pathlib import Path

from gateway.errors import FACES
from gateway.headers import PASSED_BACK, PASSED_ON, PASSED_TO_ANY
from gateway.pipeline import CLOSING, STAGES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/gateway.md").read_text()
OURS = re.compile(r'"(x-llmobs-[a-z-]+|x-ratelimit-[a-z-]+|x-should-retry|traceparent|idempotency-key)"')
ROW = re.compile(r"^\| `(\w+)` \| (\d+) `(\w+)` \| (\d+) `(\w+)` \| (.+) \|$", re.MULTILINE)


def part(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_stages_stand_in_their_order() -> None:
    told = re.findall(r"^\d\. (`.+?):", part("What it goes through"), re.MULTILINE)
    names = [name for line in told for name in re.findall(r"`(\w+)`", line)]
    assert names == [stage.__name__ for stage in (*STAGES, *CLOSING)]


def test_every_reason_has_its_face() -> None:
    told = {row[1]: (int(row[2]), row[3], int(row[4]), row[5]) for row in ROW.finditer(part("Reasons"))}
    assert told == {name: (*face.openai[:2], *face.anthropic) for name, face in FACES.items()}


def test_a_reason_with_headers_says_so() -> None:
    said = {row[1]: row[6] for row in ROW.finditer(part("Reasons"))}
    for name, face in FACES.items():
        for header, _ in face.headers:
            assert f"`{header.decode()}" in said[name], name


def test_every_header_of_ours_is_named() -> None:
    """In bytes as the gateway reads and writes them: what stands in its code, stands on the page."""
    code = "".join(file.read_text() for file in (ROOT / "gateway").rglob("*.py"))
    known = {name for name in OURS.findall(code) if not name.endswith("-")}
    assert len(known) > 20
    assert sorted(name for name in known if f"`{name}" not in PAGE) == []


def test_what_passes_of_others_headers_is_named() -> None:
    for name in {*PASSED_ON, *PASSED_BACK, *PASSED_TO_ANY}:
        assert f"`{name.decode()}`" in PAGE

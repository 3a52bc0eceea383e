"""docs/walls.md says what the code does: the setting, the role, who says what, and who finds out who."""

import re
from pathlib import Path

from llmobs.core.env import VARIABLES
from llmobs.ops.embedded_postgres import WEB_USER
from llmobs.tenants import seeing, walls

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/walls.md").read_text()


def test_names_are_those_of_the_code() -> None:
    assert f"`{seeing.SETTING}`" in PAGE
    assert f"`{seeing.EVERYTHING}`, every tenant" in PAGE
    assert f"CREATE ROLE {WEB_USER} LOGIN" in PAGE
    assert set(re.findall(r"\b[A-Z]+_DATABASE_URL\b|\bDATABASE_URL\b", PAGE)) <= VARIABLES.keys()
    assert "docs/walls.md" in VARIABLES["WEB_DATABASE_URL"]


def test_what_is_only_read_is_only_read() -> None:
    read = {"span", "trace", "bill", "payload_block", "rollup_hour", "rollup_minute", "rollup_delta", "claim"}
    assert not read & (walls.WRITTEN | walls.RAISED | walls.EMPTIED)
    assert {"limits_limit", "pricing_price"} == walls.SEEN_BY_ALL


def test_few_places_look_past_the_wall_to_find_out_who_asks() -> None:
    """Each more is a hole: a key's row by its hash, a person's memberships by their id."""
    looking = {
        str(path.relative_to(ROOT))
        for path in [*ROOT.glob("llmobs/**/*.py"), *ROOT.glob("dashboards/**/*.py")]
        if re.search(r"finding_out_who\(|seeing\((seeing\.)?EVERYTHING|see\(None\)", path.read_text())
    }
    assert looking == {
        "llmobs/tenants/access.py", "llmobs/tenants/authentication.py", "llmobs/tenants/seeing.py"
    }  # fmt: skip

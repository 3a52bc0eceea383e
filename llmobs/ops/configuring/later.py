"""What the file may ask for one day: refused with a sentence that says so, rather than kept and not obeyed."""

from typing import Any

from llmobs.ops.configuring.entry import Problem

# Names that this version does not know yet; by the list that they stand in ("" is the top).
LATER_NAMES = {
    "budgets": {"downgrade_to": "downgrading"},
}
LATER_VALUES = {
    ("budgets", "action"): ("downgrade", "cache_only", "static"),
}


def later_parts(data: dict[str, Any], path: str = "", part: str = "") -> list[Problem]:
    """Where the file asks for what later versions bring."""
    found: list[Problem] = []
    for name, value in data.items():
        here = f"{path}.{name}" if path else str(name)
        what = LATER_NAMES.get(part, {}).get(str(name))
        if what and value not in ([], None, ""):
            found.append(Problem(here, f"{what} ({name}) is not in this version; leave it out"))
        elif isinstance(value, str) and value in LATER_VALUES.get((part, str(name)), ()):
            found.append(Problem(here, f"{value!r} is not in this version; use block or alert"))
        elif part == "budgets" and name == "window" and str(value).startswith("rolling"):
            found.append(
                Problem(here, f"rolling windows ({value}) are not in this version; use hour, day, week, month or total")
            )
        elif isinstance(value, list):
            for index, entry in enumerate(value):
                if isinstance(entry, dict):
                    found += later_parts(entry, f"{here}[{index}]", str(name))
    return found

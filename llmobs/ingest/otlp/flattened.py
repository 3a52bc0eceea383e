"""Lists and objects that were flattened into attribute names: `llm.input_messages.0.message.role`."""

from typing import Any

from llmobs.ingest.otlp.reading import Attributes

# Positions past this are no list of messages.
MOST_ITEMS = 10_000


def take_nested(attributes: Attributes, prefix: str) -> list[Any]:
    """Take all attributes `<prefix><position>.<path>` and give them back as a list of nested objects."""
    tree: dict[str, Any] = {}
    for name in [name for name in attributes if name.startswith(prefix)]:
        _plant(tree, name[len(prefix) :].split("."), attributes.pop(name))
    grown = _listed(tree)
    return grown if isinstance(grown, list) else [grown] if grown else []


def _plant(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for step in path[:-1]:
        below = tree.setdefault(step, {})
        if not isinstance(below, dict):
            return  # a value and an object under one name: the first stays
        tree = below
    tree.setdefault(path[-1], value)


def _listed(tree: Any) -> Any:
    """Objects whose keys are all positions become lists."""
    if not isinstance(tree, dict):
        return tree
    grown = {key: _listed(value) for key, value in tree.items()}
    if grown and all(key.isascii() and key.isdigit() and len(key) < 5 for key in grown):
        return [grown[key] for key in sorted(grown, key=int)][:MOST_ITEMS]
    return grown

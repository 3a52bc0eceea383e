"""Reads YAML into plain values, strictly: no name twice, no float, no alias that grows beyond what a file can mean."""

from typing import Any

import yaml

MOST_VALUES = 500_000  # of one file, aliases written out
_MERGE = "tag:yaml.org,2002:merge"
_FLOAT = "tag:yaml.org,2002:float"


class NotYaml(Exception):
    """The text cannot be read. `where`: the line and column, "" if unknown."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(problem)
        self.where = where


def read(text: str | bytes) -> Any:
    """The values of a document, None of an empty one; raises NotYaml."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _Weighing().weight(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise NotYaml(where, str(error.problem)) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise NotYaml("", "it holds a character that no text file holds") from None
    except RecursionError:
        raise NotYaml("", "it is nested too deep") from None
    except ValueError as error:  # a date that no calendar has
        raise NotYaml("", str(error)[:80]) from None


class _Loader(yaml.SafeLoader):
    """Makes plain values alone. Numbers with a point stay text, so that no amount passes through a float; a name may
    stand once only."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        known = set()
        for name, (key, _) in zip(names, node.value, strict=True):
            if isinstance(name, list | dict):
                raise _marked(key, "a name must be text")
            if name in known:
                raise _marked(key, f"{name!r} stands here twice")
            known.add(name)
        return super().construct_mapping(node, deep)


def _as_text(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor(_FLOAT, _as_text)


class _Weighing:
    """Counts values with aliases written out, before anyone walks them: a few lines can stand for billions."""

    def __init__(self) -> None:
        self.known: dict[int, int] = {}
        self.entered: set[int] = set()

    def weight(self, node: yaml.Node) -> int:
        """How many values the node stands for; raises MarkedYAMLError where it is too much."""
        found = self.known.get(id(node))
        if found is not None:
            return found
        if id(node) in self.entered:
            raise _marked(node, "an alias stands within what it stands for")
        self.entered.add(id(node))
        found = 1 + sum(map(self.weight, _parts(node)))
        if found > MOST_VALUES:
            raise _marked(node, f"more than {MOST_VALUES:,} values, aliases written out")
        self.known[id(node)] = found
        return found


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.ScalarNode):
        if "\0" in node.value:
            raise _marked(node, "a NUL, which no text may hold")
        if node.tag == _MERGE:
            raise _marked(node, "merging (<<) is not read; write it out")
        return []
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value)


def _marked(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)

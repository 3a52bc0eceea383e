"""The shape of a usual span: what its attributes' names alone decide, worked out once for all spans that have them.

An exporter sends the same few sets of names over and over. Where they are `gen_ai`'s and the application's own, the
shape says which fields there are to take and that nothing else has to be looked for; what is left is attributes.
Any other span has none, and is read the long way. Both come to the same.
"""

from dataclasses import dataclass

from llmobs.ingest.otlp import adapters, genai, remains, remarks, whom
from llmobs.ingest.otlp.remembering import remembering

LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Shape:
    """`unknown`: the remarks on the names that are left."""

    adapter: int
    names: genai.Names
    whom: whom.Names
    unknown: tuple[str, ...]


@remembering(2048)
def shape_of(names: tuple[str, ...], scope_name: str) -> Shape | None:
    """None: the span must be read the long way."""
    if len(names) > remains.MOST_ATTRIBUTES or any(len(name) > LONGEST_NAME or "\0" in name for name in names):
        return None
    adapter = adapters.usual_adapter(names, scope_name)
    if adapter is None:
        return None
    found, of_whom = genai.EVERY_NAME.among(names), whom.names_among(names)
    taken = found.all().union(of_whom.user, of_whom.session, of_whom.feature)
    left = tuple(name for name in names if name not in taken)
    if found.others or of_whom.has_more or any(map(remains.is_content, left)) or remarks.has_counts(left):
        return None
    return Shape(adapter.code, found, of_whom, remarks.unknown_among(left))

"""JSON schemas as each provider's structured outputs take them."""

from gateway.dialects.wire import Json

# What Anthropic's structured outputs read; anything else they refuse, so it goes into the description as a hint.
_KEPT = frozenset({"type", "enum", "const", "description", "title", "$ref", "required"})
_NESTED = frozenset({"properties", "$defs", "definitions"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_SILENT = frozenset({"$schema", "$id", "additionalProperties", "strict"})


class Open(Exception):
    """The schema has an object whose properties are not named: structured outputs cannot express it."""


def closed(schema: Json) -> Json:
    """The schema as Anthropic's structured outputs take it. Raises Open."""
    found: Json = {}
    hints: list[str] = []
    for name, value in schema.items():
        if name in _NESTED and isinstance(value, dict):
            found[name] = {key: _closed(inner) for key, inner in value.items()}
        elif name in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
            found["allOf" if name == "allOf" else "anyOf"] = [_closed(inner) for inner in value]
        elif name == "items":
            found[name] = _closed(value)
        elif name in _KEPT or (name == "format" and value in _FORMATS) or (name == "minItems" and value in (0, 1)):
            found[name] = value
        elif name not in _SILENT:
            hints.append(f"{name}: {value}")
    if _is_object(schema):
        if "properties" not in schema and schema.get("additionalProperties") is not False:
            raise Open
        found["additionalProperties"] = False
    if hints:
        hint = "{" + ", ".join(hints) + "}"
        found["description"] = f"{found['description']}\n\n{hint}" if found.get("description") else hint
    return found


def is_strict(schema: object) -> bool:
    """Whether OpenAI's strict mode takes it: each object closed, and all its properties required."""
    if isinstance(schema, list):
        return all(is_strict(inner) for inner in schema)
    if not isinstance(schema, dict):
        return True
    if _is_object(schema):
        names = schema.get("properties")
        required = schema.get("required")
        if schema.get("additionalProperties") is not False or not isinstance(names, dict):
            return False
        if set(names) != set(required if isinstance(required, list) else ()):
            return False
    return all(is_strict(inner) for inner in schema.values())


def _closed(schema: object) -> object:
    return closed(schema) if isinstance(schema, dict) else schema


def _is_object(schema: Json) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind)

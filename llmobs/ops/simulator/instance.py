"""A valid instance of a JSON schema, the same for the same schema: for structured outputs and tools' arguments."""

from typing import Any

DEEPEST = 6  # from here on nothing optional is made, so that a schema that holds itself comes to an end
SAMPLES = {
    "date": "2025-06-01",
    "date-time": "2025-06-01T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
SHALLOW = {"string": "text", "boolean": True, "null": None}
Schema = dict[str, Any]


def instance(schema: Schema) -> Any:
    """One value that the schema allows. Patterns are not honoured."""
    return _make(schema, schema, 0)


def _make(schema: Any, root: Schema, depth: int) -> Any:
    if not isinstance(schema, dict):
        return "text"
    if "$ref" in schema:
        return _make(_resolve(schema["$ref"], root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for of in ("anyOf", "oneOf"):
        if schema.get(of):
            return _make(_simplest(schema[of]) if depth >= DEEPEST else schema[of][0], root, depth + 1)
    if schema.get("allOf"):
        return _make(_merged([schema, *schema["allOf"]], root), root, depth + 1)
    return _of_kind(_kind(schema), schema, root, depth)


def _kind(schema: Schema) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    return str(kind)


def _of_kind(kind: str, schema: Schema, root: Schema, depth: int) -> Any:
    match kind:
        case "object":
            return _object(schema, root, depth)
        case "array":
            count = max(schema.get("minItems", 0), 0 if depth >= DEEPEST or schema.get("maxItems") == 0 else 1)
            return [_make(schema.get("items", {}), root, depth + 1) for _ in range(count)]
        case "integer" | "number":
            return _number(kind, schema)
        case "string":
            return _string(schema)
    return SHALLOW.get(kind)


def _object(schema: Schema, root: Schema, depth: int) -> dict[str, Any]:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    return {
        name: _make(inner, root, depth + 1) for name, inner in properties.items() if depth < DEEPEST or name in required
    }


def _number(kind: str, schema: Schema) -> int | float:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    if (above := schema.get("exclusiveMinimum")) is not None:
        lowest = above + 1 if kind == "integer" else above + 0.5
    if (below := schema.get("exclusiveMaximum")) is not None:
        highest = below - 1 if kind == "integer" else below - 0.5
    value = 1 if lowest is None else max(1, lowest)
    value = value if highest is None else min(value, highest)
    step = schema.get("multipleOf")
    return -(-value // step) * step if step else value


def _string(schema: Schema) -> str:
    text = SAMPLES.get(schema.get("format", ""), "text")
    text = text.ljust(schema.get("minLength", 0), "x")
    return text[: schema.get("maxLength", len(text))]


def _simplest(schemas: list[Any]) -> Any:
    """One that ends: null, else one without a reference."""
    plain = [one for one in schemas if isinstance(one, dict) and "$ref" not in one]
    return next((one for one in plain if one.get("type") == "null"), plain[0] if plain else schemas[0])


def _merged(schemas: list[Any], root: Schema) -> Schema:
    merged: Schema = {}
    for schema in schemas:
        one = _resolve(schema["$ref"], root) if "$ref" in schema else schema
        both = {**merged.get("properties", {}), **one.get("properties", {})}
        needed = [*merged.get("required", []), *one.get("required", [])]
        merged |= {name: value for name, value in one.items() if name != "allOf"}
        merged |= {"properties": both, "required": needed} if both else {}
    return merged


def _resolve(reference: str, root: Schema) -> Any:
    found: Any = root
    for name in reference.removeprefix("#").split("/")[1:]:
        found = found.get(name.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
    return found

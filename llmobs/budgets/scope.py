"""Scopes of budgets: the dimensions of a call that they name, and how its values are written."""

import json
from hashlib import sha256

from llmobs.tenants.attribution import Attribution

EACH = "*"

# Scope dimension -> column of `bill`, in the order in which `dimensions` answers.
COLUMNS = {
    "feature": "feature",
    "environment": "environment",
    "service": "service",
    "user": "user_id",
    "session": "session_id",
    "key": "key_id",
    "model": "model",
    "provider": "provider_name",
    "prompt": "prompt_version",
}
INDEX = {dimension: index for index, dimension in enumerate(COLUMNS)}
# "tenant" may be said too, with the tenant's own slug: it is what every budget is within.
TENANT = "tenant"
DIMENSIONS = (TENANT, *COLUMNS)

NO_SUCH_KEY = "-1"  # a scope that names a key which is not there applies to no call

# A value is part of a primary key in PostgreSQL (at most 2,700 bytes in an index): longer ones are kept by their hash.
LONGEST_VALUE = 400

Scope = tuple[tuple[str, str], ...]


def canonical_value(values: str | tuple[str, ...]) -> str:
    """One text for what an "each" budget is kept by: the value itself, or a JSON list of several; bounded."""
    if isinstance(values, str):
        text = values
    else:
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":")) if values else ""
    if len(text) <= LONGEST_VALUE:
        return text
    return f"{text[:64]}…{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def fixed_part(scope: Scope) -> Scope:
    """The dimensions that a scope names a value of."""
    return tuple((dimension, value) for dimension, value in scope if value != EACH)


def dimensions(attribution: Attribution, model: str, provider_name: str, prompt_version: str) -> tuple[str, ...]:
    """A call's value of each dimension, in the order of `COLUMNS`."""
    return (
        attribution.feature,
        attribution.environment,
        attribution.service,
        attribution.user_id,
        attribution.session_id,
        key_value(attribution.key_id),
        model,
        provider_name,
        prompt_name(prompt_version),
    )


def prompt_name(prompt_version: str) -> str:
    """The prompt of "name@3": budgets are for all versions of one."""
    return prompt_version.partition("@")[0]


def key_value(key_id: int) -> str:
    """A key as a scope names it: its id, "" for none."""
    return str(key_id) if key_id else ""

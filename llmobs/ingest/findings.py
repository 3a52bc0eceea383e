"""What guards found, as it is journalled and stored: without the text, by a fingerprint under a key of the tenant."""

from llmobs.guards.fingerprint import fingerprint
from llmobs.guards.signs import Sign
from llmobs.ingest.entries import Finding

# What a guard's setting says, and what is said of a finding.
DONE = {"log": "logged", "flag": "flagged", "mask": "masked", "block": "blocked"}


def found(sign: Sign, done: str, tenant_key: bytes) -> Finding:
    """A sign as it is journalled."""
    mark = fingerprint(tenant_key, sign.text) if sign.text else ""
    return Finding(sign.kind, sign.where, done, sign.name, sign.score_permille, sign.count, mark)

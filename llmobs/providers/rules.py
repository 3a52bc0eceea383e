"""What the fields of providers and routes may hold: each rule gives what is wrong in one sentence, or "".

Plain, so that the admin, the REST API and `apply` refuse the same with the same words.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from llmobs.providers.registry import OPERATIONS

MOST_RETRIES = 10
MOST_SECONDS = 3600
MOST_WEIGHT = 1_000_000
LAST_RESORTS = ("stale_cache", "static")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a header's: RFC 9110's token
_TASK = re.compile(r"[a-z][a-z0-9_-]{0,63}")
# Set by the gateway for each request: a second one would be another request's head.
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-type", "accept-encoding"})


def base_url(given: str) -> str:
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        return f"{given!r} is no address such as https://api.openai.com/v1"
    if parts.username or parts.password:
        return "An address with a password in it; give that as the credential."
    return ""


def headers(given: Any) -> str:
    if not _are_texts(given):
        return 'An object of texts, such as {"openai-organization": "org-1"}.'
    for name, value in given.items():
        if not _NAME.fullmatch(name) or not _fits_a_line(value):
            return f"{name!r} and its value make no HTTP header"
        if name.lower() in _OURS:
            return f"{name} is set by the gateway"
    return ""


def query(given: Any) -> str:
    return "" if _are_texts(given) else 'An object of texts, such as {"api-version": "2024-10-21"}.'


def paths(given: Any) -> str:
    if not _are_texts(given):
        return 'An object of texts, such as {"chat": "/openai/deployments/{model}/chat/completions"}.'
    for operation, path in given.items():
        if operation not in OPERATIONS:
            return f"{operation!r} is no operation; use any of {', '.join(OPERATIONS)}"
        if not path.startswith("/") or not _fits_a_line(path) or any(sign in path for sign in " ?#"):
            return f"{operation}: {path!r} is no path below base_url, such as {OPERATIONS[operation]}"
        if set("{}") & set(path.replace("{model}", "")):
            return f"{operation}: {path!r} may hold {{model}} alone"
    return ""


def serves(given: Any) -> str:
    return _names(given, lambda name: name in OPERATIONS, f"A list of {', '.join(OPERATIONS)}.")


def credentials(given: Any) -> str:
    """Of what is stored: references and sealed texts, with weights."""
    if not isinstance(given, list):
        return 'A list such as [{"credential": "env:OPENAI_KEY_A", "weight": 2}].'
    for entry in given:
        if not isinstance(entry, dict) or set(entry) - {"credential", "weight"} or not entry.get("credential"):
            return "Each has a credential, and may have a weight."
        weight = entry.get("weight", 1)
        if type(weight) is not int or not 1 <= weight <= MOST_WEIGHT:
            return f"A weight is a whole number from 1 to {MOST_WEIGHT:,}."
    return ""


def seconds(given: float | None) -> str:
    if given is None or 0 < given <= MOST_SECONDS:
        return ""
    return f"Seconds above 0 and up to {MOST_SECONDS:,}; empty: the gateway's own patience."


def last_resort(given: Any) -> str:
    return _names(given, lambda name: name in LAST_RESORTS, f"A list of {' and '.join(LAST_RESORTS)}.")


def tasks(given: Any) -> str:
    what = "A list of tasks in lower case, such as classification or code_review."
    return _names(given, lambda name: _TASK.fullmatch(name) is not None, what)


def _names(given: Any, is_one: Callable[[str], bool], what: str) -> str:
    if not isinstance(given, list) or not all(isinstance(name, str) and is_one(name) for name in given):
        return what
    return "" if len(set(given)) == len(given) else "One of them stands there twice."


def _are_texts(given: Any) -> bool:
    return isinstance(given, dict) and _all_texts(given) and _all_texts(given.values())


def _all_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _fits_a_line(text: str) -> bool:
    return text.isascii() and text.isprintable()

"""Asks a provider for its reports of some days: page by page, patiently, of one host alone.

1. Each report is asked for at the provider's own address, or the account's `base_url`; redirects are not followed, and
   of an answer only the page's token is used, never an address.
2. 429, 5xx and a broken connection are tried again, after what `retry-after` says or a growing pause; anything else is
   a FetchError that says what the provider answered, without the key.
3. All pages of a report become one list of pages, as it is imported: a report is had whole or not at all.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import httpx2

TIMEOUT_SECONDS = 60.0
MOST_TRIES = 4
FIRST_PAUSE_SECONDS = 2.0
MOST_PAUSE_SECONDS = 60.0
MOST_PAGES = 200  # a month of 31 buckets is one page, or a few
MOST_BYTES = 32 * 1024 * 1024

BASE_URLS = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
ANTHROPIC_VERSION = "2023-06-01"
Parameters = list[tuple[str, str | int | float | bool | None]]


class FetchError(Exception):
    """The provider gave no report; the message says why, without the key."""


@dataclass(frozen=True)
class Source:
    """Where and as whom to ask. `pause` is told seconds: tests do not wait."""

    kind: str
    base_url: str
    key: str
    pause: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Fetched:
    """A report as it came: the pages, as `importing` takes them."""

    name: str
    data: bytes


@dataclass(frozen=True)
class _Page:
    """A page: its bytes, its buckets, and the token of the next one, "" behind the last."""

    content: bytes
    buckets: list[dict[str, Any]]
    following: Any


def fetch_reports(source: Source, first: date, after: date) -> list[Fetched]:
    """Usage and costs from `first` on, before `after`; a report without any result is left out. Raises FetchError."""
    base_url = (source.base_url or BASE_URLS[source.kind]).rstrip("/")
    found = []
    with httpx2.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client:
        for name, paths in _REPORTS[source.kind].items():
            pages = [
                page
                for path, asked in paths
                for page in _pages(client, source, base_url + path, [*_window(source.kind, first, after), *asked])
            ]
            if any(bucket.get("results") or bucket.get("result") for page in pages for bucket in page.buckets):
                # As the bytes came: an amount that is read and written again may have other digits.
                found.append(Fetched(name, b"[" + b",".join(page.content for page in pages) + b"]"))
    return found


# By report: where it is asked for, and how it is to be divided. What OpenAI calls usage is by kind of endpoint.
_BY_KEY = [("group_by", name) for name in ("model", "api_key_id", "project_id", "batch", "service_tier")]
_REPORTS: dict[str, dict[str, list[tuple[str, Parameters]]]] = {
    "openai": {
        "usage": [
            ("/organization/usage/completions", [*_BY_KEY, ("limit", "31")]),
            ("/organization/usage/embeddings", [*_BY_KEY[:3], ("limit", "31")]),
        ],
        "costs": [("/organization/costs", [("group_by", "line_item"), ("group_by", "project_id"), ("limit", "31")])],
    },
    "anthropic": {
        "usage": [
            (
                "/v1/organizations/usage_report/messages",
                [
                    *(("group_by[]", name) for name in ("model", "api_key_id", "workspace_id")),
                    ("group_by[]", "service_tier"), ("group_by[]", "context_window"), ("limit", "31"),
                ],
            )
        ],
        "costs": [
            (
                "/v1/organizations/cost_report",
                [("group_by[]", "description"), ("group_by[]", "workspace_id"), ("limit", "31")],
            )
        ],
    },
}  # fmt: skip


def _window(kind: str, first: date, after: date) -> Parameters:
    start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, after))
    if kind == "openai":
        times = [("start_time", str(int(start.timestamp()))), ("end_time", str(int(end.timestamp())))]
    else:
        times = [("starting_at", f"{start:%Y-%m-%dT%H:%M:%SZ}"), ("ending_at", f"{end:%Y-%m-%dT%H:%M:%SZ}")]
    return [*times, ("bucket_width", "1d")]


def _headers(source: Source) -> dict[str, str]:
    if source.kind == "openai":
        return {"authorization": f"Bearer {source.key}"}
    return {"x-api-key": source.key, "anthropic-version": ANTHROPIC_VERSION}


def _pages(client: httpx2.Client, source: Source, url: str, asked: Parameters) -> "list[_Page]":
    pages: list[_Page] = []
    token = ""
    while len(pages) < MOST_PAGES:
        page = _page(client, source, url, asked + ([("page", token)] if token else []))
        pages.append(page)
        if page.following == "":
            return pages
        if not isinstance(page.following, str) or page.following == token:
            raise FetchError("the provider says that there is more, and not where: nothing was taken")
        token = page.following
    raise FetchError(f"the report has more than {MOST_PAGES} pages: nothing was taken")


def _page(client: httpx2.Client, source: Source, url: str, asked: Parameters) -> "_Page":
    for tried in range(1, MOST_TRIES + 1):
        try:
            response = client.get(url, params=asked, headers=_headers(source))
        except httpx2.HTTPError as error:
            wrong, again, wait = f"the provider cannot be reached: {type(error).__name__}", True, None
        except (
            ValueError,
            TypeError,
            httpx2.InvalidURL,
        ) as error:  # of the settings' making; its text may hold the key
            raise FetchError(f"the account's address or key cannot be used: {type(error).__name__}") from None
        else:
            if response.status_code == 200:
                return _read(response.content)
            wrong = f"the provider answered HTTP {response.status_code}{_said(response.content, source.key)}"
            again = response.status_code in (408, 429) or response.status_code >= 500
            wait = _retry_after(response.headers)
        if not again or tried == MOST_TRIES:
            raise FetchError(wrong if tried == 1 else f"{wrong} ({tried} tries)")
        source.pause(min(MOST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (tried - 1) if wait is None else wait))
    raise AssertionError("the last try returns or raises")


def _read(content: bytes) -> "_Page":
    if len(content) > MOST_BYTES:
        raise FetchError(f"the provider's page has {len(content):,} bytes: nothing was taken")
    try:
        page = json.loads(content)
    except (ValueError, RecursionError):
        page = None
    if not isinstance(page, dict) or not isinstance(page.get("data"), list):
        raise FetchError("the provider's answer is no page of a report")
    if not all(isinstance(bucket, dict) for bucket in page["data"]):
        raise FetchError("the provider's answer is no page of a report")
    return _Page(content, page["data"], page.get("next_page") if page.get("has_more") else "")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    said = headers.get("retry-after", "")
    return float(said) if said.isdecimal() and len(said) < 6 else None


def _said(content: bytes, key: str) -> str:
    """The provider's own message, where there is one; never the key, should it be repeated there."""
    try:
        error = json.loads(content).get("error")
        message = error.get("message") if isinstance(error, dict) else error
    except (ValueError, AttributeError, RecursionError):
        return ""
    return f": {message.replace(key, '…')[:200]}" if isinstance(message, str) and message else ""

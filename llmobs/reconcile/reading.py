"""A file or an answer read as what it is: pages of JSON of either provider, or a CSV."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from llmobs.reconcile import anthropic_report, csv_report, openai_report
from llmobs.reconcile.rows import Parsed, ReportError

MOST_BYTES = 64 * 1024 * 1024
MOST_ROWS = 1_000_000


def read_report(data: bytes, account_kind: str) -> Parsed:
    """The report; raises ReportError that says what was expected. `account_kind`: whose report it is to be."""
    if len(data) > MOST_BYTES:
        raise ReportError(f"The report has {len(data):,} bytes; {MOST_BYTES:,} are taken at once: give it by month.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ReportError("The report is no text in UTF-8.") from None
    if not text.strip():
        raise ReportError("The report is empty.")
    parsed = _json(text) if text.lstrip()[0] in "{[" else csv_report.parse(text)
    if parsed.account_kind != account_kind:
        raise ReportError(f"This is a report of {parsed.account_kind}; the account is one at {account_kind}.")
    if not parsed.days:
        raise ReportError("The report tells of no day.")
    if len(parsed.rows) > MOST_ROWS:
        raise ReportError(f"The report has more than {MOST_ROWS:,} lines: give it by month.")
    return parsed


def _json(text: str) -> Parsed:
    try:
        found = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError, InvalidOperation) as error:
        raise ReportError(f"The report is no JSON: {error}") from None
    pages = found if isinstance(found, list) else [found]
    buckets = [bucket for page in pages for bucket in _buckets(page)]
    if not buckets:
        raise ReportError('A report is a page {"data": [buckets]}, or a list of such pages; this one has no bucket.')
    if "start_time" in buckets[0]:
        return openai_report.parse(buckets)
    if "starting_at" in buckets[0]:
        return anthropic_report.parse(buckets)
    raise ReportError("A bucket begins with start_time (OpenAI) or starting_at (Anthropic); this one has neither.")


def _buckets(page: Any) -> list[dict[str, Any]]:
    data = page.get("data") if isinstance(page, dict) else None
    if not isinstance(data, list) or not all(isinstance(bucket, dict) for bucket in data):
        raise ReportError('A report is a page {"data": [buckets]}, or a list of such pages.')
    return data

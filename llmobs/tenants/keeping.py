"""How long a tenant's data are kept, by kind, and what is archived before it goes."""

OFF, SPANS, FULL = "off", "spans", "full"
ARCHIVES = {
    OFF: "off: what is let go is gone",
    SPANS: "spans: written to Parquet before they go",
    FULL: "full: spans, and prompts and answers too",
}
DEFAULT_DAYS = 400
MOST_DAYS = 36_500  # a century: dates stay what a calendar can hold


def days_errors(spans: int, content: int | None, rollups: int | None, bills: int | None) -> dict[str, str]:
    """What is wrong with the days by field, nothing for nothing. None: as long as spans, of bills for ever."""
    fields = {
        "retention_days": spans,
        "content_retention_days": content,
        "rollup_retention_days": rollups,
        "bill_retention_days": bills,
    }
    found = {
        name: f"{days}: between 1 and {MOST_DAYS} days."
        for name, days in fields.items()
        if days is not None and not 1 <= days <= MOST_DAYS
    }
    if content is not None and content > spans:
        found.setdefault("content_retention_days", "Prompts and answers go with their spans at the latest.")
    if bills is not None and bills < spans:
        found.setdefault("bill_retention_days", "A bill stays at least as long as its span, which shows it.")
    return found

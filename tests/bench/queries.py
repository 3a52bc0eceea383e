"""How long pages and REST figures take on a filled platform, and how many statements each asks of PostgreSQL.

`python -m tests.bench queries DIR`, DIR as `scale --keep DIR` left it. The platform runs from that folder, all of its
processes; each address is asked over HTTP as a browser does, once to warm up and then several times: median and p95.
Each figure stands beside its target (PAINS 22, 34, 35, 36). Of two folders, the smaller first, the second's table says
how much longer each answer took. Last, what the figures are worth: sums and percentiles against the raw rows.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import psycopg

from dashboards.queries.rollup import latencies, total
from dashboards.queries.scope import Scope
from dashboards.queries.usage import usage_total
from dashboards.window import Window
from tests.bench.machine import running
from tests.bench.platform import free_port

OPERATOR_KEY = "llmobs-scale-0123456789abcdef0123456789abcdef"
REPEATS = 9
OVERVIEW_MS, LIST_MS, COARSE_MS, FINE_MS, TRACE_MS, SEARCH_MS, PAGE_MS = 300, 100, 50, 250, 50, 500, 300


@dataclass(frozen=True)
class Asked:
    """One row of the table. `target_ms` is of the answer as served; `needs`: what this database does not have."""

    what: str
    address: str
    target_ms: int
    needs: str = ""


@dataclass(frozen=True)
class Known:
    """Values of the data to filter by. `rare_word` None: there are no first words; `has_contents`: there are many."""

    tenant: str
    trace_500: str
    trace_20000: str
    trace_error: str
    feature: str
    user: str
    session: str
    rare_word: str | None
    start: datetime
    end: datetime
    has_contents: bool = True


def known_of(conn: psycopg.Connection[Any]) -> Known:
    """What is in the database that addresses can name: of the largest tenant."""

    def one(query: str) -> Any:
        row = conn.execute(query).fetchone()
        assert row is not None, query
        return row

    def trace(spans: str) -> str:
        return str(one(f"SELECT encode(trace_id, 'hex') FROM trace WHERE span_count {spans} ORDER BY day LIMIT 1")[0])

    start, end = one("SELECT min(day)::timestamptz, max(finish) FROM trace")
    feature, user, session = one(
        "SELECT feature, user_id, session_id FROM trace WHERE tenant_id = 1 AND start < now() - interval '1 day' "
        "AND user_id <> '' ORDER BY start DESC OFFSET 200 LIMIT 1"
    )
    rare = conn.execute(
        "SELECT substring(preview FROM 'order ([0-9]+)') FROM span WHERE tenant_id = 1 AND preview <> '' "
        "AND start < now() - interval '10 days' ORDER BY start DESC LIMIT 1"
    ).fetchone()
    has_contents = conn.execute("SELECT EXISTS (SELECT FROM payload_block)").fetchone()
    return Known(
        "atlas", trace("BETWEEN 400 AND 600"), trace("> 15000"), trace("= 1 AND error_count = 1"), feature, user,
        session, rare[0] if rare else None, start, end, bool(has_contents and has_contents[0]),
    )  # fmt: skip


def table(known: Known) -> Iterator[tuple[str, list[Asked]]]:
    """The rows, by heading."""
    month, day = "last=30d", "last=24h"
    yield (
        "overview",
        [
            Asked("all tenants, 24 h", f"/?{day}&tenant=*", OVERVIEW_MS),
            Asked("one tenant, 24 h", f"/?{day}&tenant={known.tenant}", OVERVIEW_MS),
            Asked("all tenants, 30 d", f"/?{month}&tenant=*", OVERVIEW_MS),
            Asked("one feature, 30 d", f"/?{month}&feature={known.feature}", OVERVIEW_MS),
        ],
    )
    lists = [
        ("newest", {}), ("dearest", {"sort": "cost"}), ("slowest", {"sort": "duration"}),
        ("failed", {"status": "failed"}), ("ok", {"status": "ok"}), ("degraded (none)", {"status": "degraded"}),
        ("feature", {"feature": known.feature}),
        ("feature, dearest", {"feature": known.feature, "sort": "cost"}), ("user", {"user": known.user}),
        ("user, slowest", {"user": known.user, "sort": "duration"}), ("session", {"session": known.session}),
        ("model", {"model": "in-house-7b"}), ("model, dearest", {"model": "claude-sonnet-4-5", "sort": "cost"}),
        ("model (none)", {"model": "no-such-model"}), ("environment", {"environment": "staging"}),
        ("service", {"service": "batch"}), ("service (none)", {"service": "no-such"}),
        ("provider", {"provider": "anthropic"}), ("provider (none)", {"provider": "nobody"}), ("key", {"key": "11"}),
        ("key (none)", {"key": "99"}), ("error", {"error": "APITimeoutError"}), ("error (none)", {"error": "Nothing"}),
        ("feature, model, failed", {"feature": known.feature, "model": "gpt-4o", "status": "failed"}),
        ("user, error", {"user": known.user, "error": "APITimeoutError"}),
        ("provider, error, dearest", {"provider": "openai", "error": "RateLimitError", "sort": "cost"}),
        ("cost at least", {"min_cost_usd": "0.05"}), ("duration at least", {"min_duration_ms": "60000"}),
    ]  # fmt: skip
    yield (
        "trace list over REST, 30 d",
        [
            Asked(what, f"/api/v1/traces/?{month}&tenant={known.tenant}&{urllib.parse.urlencode(given)}", LIST_MS)
            for what, given in lists
        ],
    )
    common = "" if known.has_contents else "contents"
    rare = "" if known.rare_word else "first words"
    searches = [("common word", "ba co", common), ("rare word", known.rare_word or "", rare),
                ("no such word", "xylophone", ""), ("words of a name", "invoke_agent", ""),
                ("a trace's id", known.trace_500, "")]  # fmt: skip
    yield (
        "full text over REST, 30 d",
        [
            Asked(
                what, f"/api/v1/traces/?{month}&tenant={known.tenant}&q={urllib.parse.quote(words)}", SEARCH_MS, needs
            )
            for what, words, needs in searches
        ],
    )
    figures = [
        ("cost by day", "metric=cost_usd&interval=day", COARSE_MS),
        ("percentiles by hour", "metric=p50,p95,p99&interval=hour", COARSE_MS),
        ("cost by model and day", "metric=cost_usd,requests&group_by=model&interval=day", COARSE_MS),
        ("percentiles by model", "metric=p95&group_by=model", COARSE_MS),
        ("cost by feature and day", "metric=cost_usd&group_by=feature&interval=day", FINE_MS),
        ("errors by error and day", "metric=errors&group_by=error&interval=day", FINE_MS),
        ("percentiles by hour of a feature", f"metric=p95&interval=hour&feature={known.feature}", FINE_MS),
        ("percentiles by feature and hour", "metric=p95&group_by=feature&interval=hour", FINE_MS),
        ("by feature, model and key", "metric=cost_usd,requests,errors&group_by=feature,model,key", FINE_MS),
    ]
    yield (
        "charts over REST, 30 d",
        [
            Asked(what, f"/api/v1/metrics/?{month}&tenant={known.tenant}&{query}", target)
            for what, query, target in figures
        ],
    )
    yield (
        "charts over REST, 30 d, all tenants",
        [Asked(what, f"/api/v1/metrics/?{month}&{query}", target) for what, query, target in figures],
    )
    yield (
        "traces",
        [
            Asked("a failed call's page", f"/traces/{known.trace_error}/", TRACE_MS),
            Asked("500 spans, page", f"/traces/{known.trace_500}/", TRACE_MS),
            Asked("500 spans, REST", f"/api/v1/traces/{known.trace_500}/", TRACE_MS),
            Asked("20,000 spans, page", f"/traces/{known.trace_20000}/", PAGE_MS),
        ],
    )
    usage = f"/api/v1/usage/?{month}&tenant={known.tenant}"
    yield (
        "usage over REST, 30 d",
        [
            Asked("all default groups, first page", usage, FINE_MS),
            Asked("by day", f"{usage}&group_by=day", FINE_MS),
            Asked("by user", f"{usage}&group_by=user", FINE_MS),
            Asked("by feature and model", f"{usage}&group_by=feature,model", FINE_MS),
            Asked("one user by day", f"{usage}&group_by=day&user={known.user}", FINE_MS),
        ],
    )
    # By what they are of two databases, whose users differ; and by the words in one.
    pages = [
        ("/traces/", ""), ("/traces/?status=failed&sort=cost", ""), ("/traces/?user=", known.user),
        ("/traces/?session=", known.session), ("/traces/?q=", known.rare_word or ""), ("/costs/", ""),
        ("/costs/?by=user", ""), ("/costs/?by=model", ""), ("/costs/?by=key", ""), ("/costs/?user=", known.user),
        *((f"/{name}/", "") for name in ("usage", "budgets", "providers", "prices", "prompts", "alerts", "brake",
                                         "unpriced", "repricing", "reconcile")),
    ]  # fmt: skip
    yield (
        "pages, 30 d, one tenant",
        [
            Asked(
                page, f"{page}{value}{'&' if '?' in page else '?'}{month}&tenant={known.tenant}", PAGE_MS,
                rare if page.endswith("q=") else "",
            )
            for page, value in pages
        ],
    )  # fmt: skip
    yield "alerts over REST", [Asked("budgets", "/api/v1/budgets/", PAGE_MS)]


class Browser:
    """A person signed in on the pages, and a key for REST."""

    def __init__(self, base: str, password: str) -> None:
        self._pages = httpx2.Client(base_url=base, timeout=120, follow_redirects=True)
        self._rest = httpx2.Client(base_url=base, timeout=120, headers={"Authorization": f"Bearer {OPERATOR_KEY}"})
        form = self._pages.get("/accounts/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
        assert token, "the form of sign-in has no token"
        answer = self._pages.post(
            "/accounts/login/",
            data={"login": "admin", "password": password, "csrfmiddlewaretoken": token[1]},
            headers={"Referer": f"{base}/accounts/login/"},
        )
        assert "login" not in str(answer.url), f"sign-in failed: {answer.status_code}"

    def ask(self, address: str) -> tuple[int, int, float]:
        """(status, bytes, milliseconds) of one answer."""
        client = self._rest if address.startswith("/api/") else self._pages
        start = time.perf_counter()
        answer = client.get(address)
        return answer.status_code, len(answer.content), 1000 * (time.perf_counter() - start)


class Statements:
    """Counts what one answer asks of PostgreSQL, sessions and permissions included: made once more, in this process."""

    def __init__(self, folder: Path) -> None:
        os.environ.update(LLMOBS_DATA=str(folder), DJANGO_SETTINGS_MODULE="llmobs.settings")
        import django

        django.setup()
        from django.db import connection
        from django.test import Client
        from django.test.utils import CaptureQueriesContext

        from llmobs.tenants.models import User

        self._pages, self._captured = Client(SERVER_NAME="127.0.0.1"), lambda: CaptureQueriesContext(connection)
        self._pages.force_login(User.objects.get(username="admin"))

    def count(self, address: str) -> int:
        headers = {"Authorization": f"Bearer {OPERATOR_KEY}"} if address.startswith("/api/") else {}
        with self._captured() as captured:  # type: ignore[no-untyped-call]  # Django has no types
            self._pages.get(address, headers=headers)
        return len(captured)


@contextmanager
def up(folder: Path) -> Iterator[tuple[str, str]]:
    """The platform on this folder; (address of the pages, database)."""
    web, gateway = free_port(), free_port()
    command = [
        sys.executable, "manage.py", "up", "--data", str(folder), "--web-port", str(web),
        "--gateway-port", str(gateway),
    ]  # fmt: skip
    with running(command, env={"LLMOBS_OPERATOR_KEY": OPERATOR_KEY}):
        base = f"http://127.0.0.1:{web}"
        until = time.monotonic() + 600
        while time.monotonic() < until:
            try:
                if httpx2.get(f"{base}/accounts/login/", timeout=5).status_code == 200:
                    break
            except httpx2.HTTPError:
                pass
            time.sleep(1)
        url = json.loads((folder / "connections.json").read_text())["database_url"]
        yield base, url


def measure(folder: Path, only: str, repeats: int, before: dict[str, float]) -> tuple[int, dict[str, float]]:
    """Print the table; how many targets were missed, and the medians. `before`: those of a smaller folder."""
    missed, medians = 0, {}
    with up(folder) as (base, url), psycopg.connect(url, autocommit=True) as conn:
        password = json.loads((folder / "secrets.json").read_text())["admin_password"]
        known, browser, statements = known_of(conn), Browser(base, password), Statements(folder)
        spans = conn.execute("SELECT sum(reltuples)::bigint FROM pg_class WHERE relname ~ '^span_2[0-9]+$'").fetchone()
        print(f"{spans[0] if spans else 0:,} spans, {known.start:%Y-%m-%d} to {known.end:%Y-%m-%d %H:%M}")
        for heading, rows in table(known):
            if only and only not in heading:
                continue
            growth = f" {'growth':>7}" if before else ""
            print(f"\n{heading}\n{'':<38} {'median':>9} {'p95':>9} {'target':>7} {'KB':>6} {'SQL':>4}{growth}")
            for row in rows:
                if row.needs:
                    print(f"{row.what:<38} not measured: there are no {row.needs}")
                    continue
                name = f"{heading}: {row.what}"
                misses, medians[name] = _row(browser, statements, row, repeats, before.get(name))
                missed += misses
        if not only or only in "exactness":
            print("\nexactness, 30 d")
            missed += sum(_print_exact(*each) for each in exactness(conn, known))
    print(f"\n{missed} targets missed")
    return missed, medians


def _row(
    browser: Browser, statements: Statements, row: Asked, repeats: int, before: float | None
) -> tuple[bool, float]:
    status, size, first = browser.ask(row.address)
    took = sorted(browser.ask(row.address)[2] for _ in range(repeats if first < 10_000 else 1))
    median, p95 = statistics.median(took), took[min(int(0.95 * len(took)), len(took) - 1)]
    misses = median > row.target_ms or status != 200
    print(
        f"{row.what:<38} {median:>6.0f} ms {p95:>6.0f} ms {row.target_ms:>4} ms {size / 1024:>6.0f} "
        f"{statements.count(row.address):>4}{f' {median / before:>6.1f}x' if before else ''}"
        f"{f'  status {status}' if status != 200 else '  MISSED' if misses else ''}",
        flush=True,
    )
    return misses, median


def _print_exact(what: str, ours: float, raw: float, most_apart: float) -> bool:
    apart = abs(ours / raw - 1) if raw else float(ours != raw)
    misses = apart > most_apart
    print(
        f"{what:<38} {ours:>20,.6g} of {raw:>20,.6g} raw, {100 * apart:.3f} % apart, at most {100 * most_apart:g} %"
        f"{'  MISSED' if misses else ''}",
        flush=True,
    )
    return misses


def exactness(conn: psycopg.Connection[Any], known: Known) -> Iterator[tuple[str, float, float, float]]:
    """(what, ours, of the raw rows, how far these may be apart as a share): of all tenants, today left out."""
    end = known.end.replace(hour=0, minute=0, second=0, microsecond=0)
    tenants = tuple(row[0] for row in conn.execute("SELECT id FROM tenants_tenant ORDER BY id"))
    scope = Scope(tenants, Window(known.start, end, ZoneInfo("UTC")))
    cursor = conn.cursor()
    sums, billed = total(cursor, scope), usage_total(cursor, scope)
    raw = conn.execute(
        "SELECT count(*), sum(output_tokens)::bigint, sum(cost_nanousd)::bigint FROM span "
        "WHERE is_counted AND start >= %s AND start < %s", (known.start, end),
    ).fetchone()  # fmt: skip
    of_bills = conn.execute(
        "SELECT sum(requests)::bigint, sum(cost_nanousd)::bigint FROM bill WHERE begin_at >= %s AND begin_at < %s",
        (known.start, end),
    ).fetchone()
    assert raw is not None, "an aggregate has a row"
    assert of_bills is not None, "an aggregate has a row"
    yield from ((name, ours, due, 0.0) for name, ours, due in zip(
        ("calls", "output tokens", "nano-USD of roll-ups", "requests billed", "nano-USD billed"),
        (sums.calls, sums.output_tokens, sums.cost_nanousd, billed.requests, billed.cost_nanousd or 0),
        (*raw, *of_bills), strict=True,
    ))  # fmt: skip
    exact = conn.execute(
        "SELECT coalesce(nullif(response_model, ''), request_model), percentile_disc(ARRAY[0.5, 0.95, 0.99]) "
        "WITHIN GROUP (ORDER BY duration_ns) FROM span WHERE is_counted AND start >= %s AND start < %s "
        "GROUP BY 1 ORDER BY 1", (known.start, end),
    ).fetchall()  # fmt: skip
    sketches = {row.key[0]: row for row in latencies(cursor, scope, ("model",))}
    for model, values in exact:
        for quantile, nanoseconds in zip((0.5, 0.95, 0.99), values, strict=True):
            ours = sketches[model].quantile_ms(quantile) or 0.0
            yield f"p{100 * quantile:.0f} of {model}, ms", ours, nanoseconds / 1e6, 0.01


def main(arguments: Sequence[str] = ()) -> int:
    """Ask everything of a folder, or of two."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench queries")
    parser.add_argument("folders", type=Path, nargs="+", help="one, or a smaller and a larger")
    parser.add_argument("--only", default="", help="rows of headings that contain this")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--medians", type=Path, default=None, help="a file that they are written into")
    options = parser.parse_args(list(arguments))
    *smaller, folder = options.folders
    before: dict[str, float] = {}
    for each in smaller:  # in a process of its own: Django knows one database
        kept = each / "medians.json"
        words = [str(each), "--only", options.only, "--repeats", str(options.repeats), "--medians", str(kept)]
        subprocess.run([sys.executable, "-m", "tests.bench", "queries", *words], check=False)
        before = json.loads(kept.read_text())
    missed, medians = measure(folder, options.only, options.repeats, before)
    if options.medians is not None:
        options.medians.write_text(json.dumps(medians))
    return 1 if missed else 0

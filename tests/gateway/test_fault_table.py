"""What a provider may do wrong, each in the same few ways of answering it: what the caller sees, and what it costs.

Every cell goes through a running gateway, and reads `status, who answered or the reason: what each attempt was billed`:

- nothing: the provider was not reached, or refused; exact: by the usage that it reported
- hold: it may have worked, and nobody knows how much: the attempt's upper bound
- seen: what was passed on, counted conservatively
"""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest
import redis

from llmobs.core import semconv
from llmobs.core.money import exact_usd
from llmobs.ingest.entries import Begin, Called, End
from tests.gateway import faulty as far_ends
from tests.gateway.authority import Authority
from tests.gateway.faulty import Fault, Faulty, faulty
from tests.gateway.running import Gateway
from tests.gateway.test_cache import called, grow_older
from tests.gateway.world import World

# Columns: how the attempt's span ends; without any help, for OpenAI's clients and for Anthropic's; with one retry; with
# a fallback; with the stale answer from the cache; with a static text. A fault is there once, then the provider is
# well; the last three stay (nobody listens, TLS fails, no trust).
TABLE = """
| fault | asked for | span | alone, OpenAI | alone, Anthropic | retry | fallback | stale | static |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| silence | whole | timed_out | 504 provider_timeout: hold | 504 provider_timeout: hold | 504 provider_timeout: hold | 200 secondary: hold + exact | 200 stale: hold | 200 static: hold |
| silence | stream | timed_out | 504 provider_timeout: hold | 504 provider_timeout: hold | 504 provider_timeout: hold | 200 secondary: hold + exact | 200 stale: hold | 200 static: hold |
| head, then silence | whole | timed_out | 504 provider_timeout: hold | 504 provider_timeout: hold | 504 provider_timeout: hold | 200 secondary: hold + exact | 200 stale: hold | 200 static: hold |
| head, then silence | stream | timed_out | 504 provider_timeout: hold | 504 provider_timeout: hold | 504 provider_timeout: hold | 200 secondary: hold + exact | 200 stale: hold | 200 static: hold |
| 429 | whole | failed | 429 provider_error, retry-after 1: nothing | 429 provider_error, retry-after 1: nothing | 200 primary: nothing + exact | 200 secondary: nothing + exact | 200 stale: nothing | 200 static: nothing |
| 429 | stream | failed | 429 provider_error, retry-after 1: nothing | 429 provider_error, retry-after 1: nothing | 200 primary: nothing + exact | 200 secondary: nothing + exact | 200 stale: nothing | 200 static: nothing |
| 500 | whole | failed | 500 provider_error: nothing | 500 provider_error: nothing | 200 primary: nothing + exact | 200 secondary: nothing + exact | 200 stale: nothing | 200 static: nothing |
| 500 | stream | failed | 500 provider_error: nothing | 500 provider_error: nothing | 200 primary: nothing + exact | 200 secondary: nothing + exact | 200 stale: nothing | 200 static: nothing |
| 529 | whole | failed | 529 provider_error: nothing | 529 provider_error: nothing | 200 primary: nothing + exact | 200 secondary: nothing + exact | 200 stale: nothing | 200 static: nothing |
| 529 | stream | failed | 529 provider_error: nothing | 529 provider_error: nothing | 200 primary: nothing + exact | 200 secondary: nothing + exact | 200 stale: nothing | 200 static: nothing |
| an error under 200 | whole | failed | 502 provider_error: nothing | 502 provider_error: nothing | 200 primary: nothing + exact | 200 secondary: nothing + exact | 200 stale: nothing | 200 static: nothing |
| an error under 200 | stream | failed | 502 provider_error: nothing | 502 provider_error: nothing | 200 primary: nothing + exact | 200 secondary: nothing + exact | 200 stale: nothing | 200 static: nothing |
| closed without a word | whole | failed | 503 provider_unavailable: hold | 529 provider_unavailable: hold | 200 primary: hold + exact | 200 secondary: hold + exact | 200 stale: hold | 200 static: hold |
| closed without a word | stream | failed | 503 provider_unavailable: hold | 529 provider_unavailable: hold | 200 primary: hold + exact | 200 secondary: hold + exact | 200 stale: hold | 200 static: hold |
| cut before its first byte goes out | whole | failed | 503 provider_unavailable: hold | 529 provider_unavailable: hold | 200 primary: hold + exact | 200 secondary: hold + exact | 200 stale: hold | 200 static: hold |
| cut before its first byte goes out | stream | failed | 503 provider_unavailable: hold | 529 provider_unavailable: hold | 200 primary: hold + exact | 200 secondary: hold + exact | 200 stale: hold | 200 static: hold |
| cut after its first byte | stream | cut_off | 200 broken off: seen | 200 broken off: seen | 200 broken off: seen | 200 broken off: seen | 200 broken off: seen | 200 broken off: seen |
| garbage | whole | failed | 502 provider_garbage: hold | 502 provider_garbage: hold | 200 primary: hold + exact | 200 secondary: hold + exact | 200 stale: hold | 200 static: hold |
| garbage | stream | failed | 502 provider_garbage: hold | 502 provider_garbage: hold | 200 primary: hold + exact | 200 secondary: hold + exact | 200 stale: hold | 200 static: hold |
| not HTTP | whole | failed | 502 provider_garbage: hold | 502 provider_garbage: hold | 200 primary: hold + exact | 200 secondary: hold + exact | 200 stale: hold | 200 static: hold |
| not HTTP | stream | failed | 502 provider_garbage: hold | 502 provider_garbage: hold | 200 primary: hold + exact | 200 secondary: hold + exact | 200 stale: hold | 200 static: hold |
| refused connection | whole | failed | 503 provider_unavailable: nothing | 529 provider_unavailable: nothing | 503 provider_unavailable: nothing + nothing | 200 secondary: nothing + exact | 200 stale: nothing | 200 static: nothing |
| refused connection | stream | failed | 503 provider_unavailable: nothing | 529 provider_unavailable: nothing | 503 provider_unavailable: nothing + nothing | 200 secondary: nothing + exact | 200 stale: nothing | 200 static: nothing |
| TLS fails | whole | failed | 503 provider_unavailable: nothing | 529 provider_unavailable: nothing | 503 provider_unavailable: nothing + nothing | 200 secondary: nothing + exact | 200 stale: nothing | 200 static: nothing |
| TLS fails | stream | failed | 503 provider_unavailable: nothing | 529 provider_unavailable: nothing | 503 provider_unavailable: nothing + nothing | 200 secondary: nothing + exact | 200 stale: nothing | 200 static: nothing |
| certificate not trusted | whole | failed | 503 provider_unavailable: nothing | 529 provider_unavailable: nothing | 503 provider_unavailable: nothing | 200 secondary: nothing + exact | 200 stale: nothing | 200 static: nothing |
| certificate not trusted | stream | failed | 503 provider_unavailable: nothing | 529 provider_unavailable: nothing | 503 provider_unavailable: nothing | 200 secondary: nothing + exact | 200 stale: nothing | 200 static: nothing |
"""  # noqa: E501 -- the table as docs/faults.md shows it

FAULTS: dict[str, Fault] = {
    "silence": far_ends.hang,
    "head, then silence": far_ends.slow,
    "429": far_ends.status(429, b"retry-after: 1\r\nretry-after-ms: 20\r\n"),
    "500": far_ends.status(500),
    "529": far_ends.status(529),
    "an error under 200": far_ends.error200,
    "closed without a word": far_ends.closed,
    "cut before its first byte goes out": far_ends.cut,
    "cut after its first byte": far_ends.broken,
    "garbage": far_ends.garbage,
    "not HTTP": far_ends.not_http,
    "TLS fails": far_ends.no_tls,
}
REFUSED, TLS_FAILS, UNTRUSTED = "refused connection", "TLS fails", "certificate not trusted"
SLOW = {"silence", "head, then silence"}
STAYS = {REFUSED, TLS_FAILS, UNTRUSTED}
ROUTES = ("alone", "alone", "retry", "fallback", "stale", "static")  # of the last six columns
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
MODEL, STATIC_TEXT = "gpt-4o-mini", "Please try again later."
CACHED = {"x-llmobs-cache": "exact"}
ROOT = Path(__file__).resolve().parents[2]


def rows() -> Iterator[list[str]]:
    for line in TABLE.strip().splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


@dataclass
class Table:
    """A primary that can fail, a secondary that is well, and a route for each way of answering a fault."""

    gateway: Gateway
    world: World
    valkey: redis.Redis
    http: httpx.Client
    primary: Faulty

    def begin(self, fault: str) -> None:
        """Keep a good answer, let it grow old, and then let the fault begin."""
        self.primary.script = [far_ends.good]
        assert self.ask("stale", CHAT, False, CACHED)[0].status_code == 200
        grow_older(self.valkey, 4000)
        if fault == REFUSED:
            self.primary.refuse()
        elif fault == UNTRUSTED:
            self.world.pg.execute("UPDATE providers_provider SET ca_file = '' WHERE name <> 'secondary'")
            self.gateway.wait_for_config(self.world.version())

    def cell(self, fault: str, route: str, path: str, is_stream: bool) -> tuple[str, str]:
        """How the first attempt's span ended, and what the cell reads."""
        if fault in FAULTS:
            self.primary.script = [FAULTS[fault]] if fault in STAYS else [FAULTS[fault], far_ends.good]
        self.gateway.begin_test()
        pending = self.world.ledger()["pending"]
        headers = CACHED if route == "stale" else {}
        if fault in SLOW:
            headers = {**headers, "x-llmobs-timeout": "0.4"}
        response, text = self.ask(route, path, is_stream, headers)
        begins, ends = self.gateway.begins(), self.gateway.ends()
        self._has_a_bill_each(begins, ends, pending)
        who = _who(response, text)
        _headers_agree(response, who, len(ends), sum(end.cost_nanousd or 0 for end in ends), is_stream)
        _spans_agree(response, who, begins, ends, called(self.gateway))
        return ends[0].status, f"{response.status_code} {who}: {' + '.join(map(_bill, begins, ends))}"

    def ask(self, route: str, path: str, is_stream: bool, headers: dict[str, str]) -> tuple[httpx.Response, str]:
        messages = [{"role": "user", "content": "one two"}]
        body = {"model": route, "messages": messages, "max_tokens": 4000, "stream": is_stream}
        with self.http.stream("POST", path, json=body, headers=headers) as response:
            return response, response.read().decode()

    def _has_a_bill_each(self, begins: list[Begin], ends: list[End], pending: int) -> None:
        """One End for each Begin, all that was held is settled, and what is pending is what was billed."""
        assert [begin.attempt for begin in begins] == [end.attempt for end in ends]
        self.gateway.wait_until(lambda: self.world.ledger()["held"] == 0, "nothing is held")
        billed = sum(end.cost_nanousd or 0 for end in ends)
        assert self.world.ledger()["pending"] - pending == billed


def _who(response: httpx.Response, text: str) -> str:
    headers = response.headers
    if response.status_code != 200:
        after = headers.get("retry-after")
        return headers["x-llmobs-reason"] + (f", retry-after {after}" if after else "")
    if "broke off" in text:
        return "broken off"
    degraded = headers.get("x-llmobs-degraded", "")
    who = {"": "primary", "fallback": "secondary", "stale_cache": "stale", "static": "static"}[degraded]
    assert (STATIC_TEXT if who == "static" else far_ends.TEXT) in text
    return who


def _bill(begin: Begin, end: End) -> str:
    if end.usage is None:
        assert end.cost_nanousd is None
        return "nothing"
    assert end.cost_nanousd is not None
    if not end.is_estimated:
        assert end.cost_nanousd == 3 * 150 + 2 * 600  # by hand: what the far end reports, at the list's prices
        return "exact"
    if end.usage == begin.held_usage:
        assert end.cost_nanousd == begin.held_nanousd
        return "hold"
    assert end.usage.output >= 2
    return "seen"


def _headers_agree(response: httpx.Response, who: str, attempts: int, cost_nanousd: int, is_stream: bool) -> None:
    headers = response.headers
    assert headers["x-llmobs-attempts"] == str(attempts)
    answered_by = {"secondary": "secondary", "static": None}.get(who, "primary")
    assert headers.get("x-llmobs-provider") == answered_by
    assert headers.get("x-llmobs-cache", "off") == ("stale" if who == "stale" else _asked_cache(who, headers))
    assert ("x-llmobs-reason" in headers) == (response.status_code != 200)
    if response.status_code == 200 and not is_stream:
        assert headers["x-llmobs-cost-usd"] == exact_usd(cost_nanousd)
    if response.status_code != 200 and response.request.url.path == MESSAGES:
        assert response.json()["type"] == "error"


def _asked_cache(who: str, headers: httpx.Headers) -> str:
    return "miss" if headers.get("x-llmobs-cache") == "miss" and who == "broken off" else "off"


def _spans_agree(response: httpx.Response, who: str, begins: list[Begin], ends: list[End], calls: list[Called]) -> None:
    """Several attempts, or an answer by none: the call has a span of its own, and each attempt is its child."""
    span_id = bytes.fromhex(response.headers["x-llmobs-span-id"])
    if len(ends) == 1 and who not in ("stale", "static"):
        assert (calls, ends[0].call_span_id, begins[0].attempt) == ([], None, span_id)
        return
    [call] = calls
    degraded = response.headers.get("x-llmobs-degraded", "")
    status = semconv.DEGRADED if degraded else ends[-1].status
    assert (call.span_id, call.attempts, call.degraded, call.status) == (span_id, len(ends), degraded, status)
    assert call.failed_attempts == sum(end.status in semconv.ERROR_STATUSES for end in ends)
    assert {end.call_span_id for end in ends} == {span_id}


@pytest.fixture
def far(fault: str, tmp_path: Path) -> Iterator[tuple[Faulty, str]]:
    """The primary's far end, and the file that vouches for it."""
    is_tls = fault in (TLS_FAILS, UNTRUSTED)
    authority = Authority(tmp_path) if is_tls else None
    context: ssl.SSLContext | None = authority.server("localhost") if authority is not None else None
    with faulty(context) as primary:
        yield primary, str(authority.certificate) if authority is not None else ""


@pytest.fixture
def table(
    far: tuple[Faulty, str],
    gateway: Gateway,
    world: World,
    valkey: redis.Redis,
    http: httpx.Client,
    budget: int,
) -> Iterator[Table]:
    primary, ca_file = far
    with faulty() as second:
        once = world.provider("primary", "openai", primary.url, prices_like="openai", ca_file=ca_file)
        other = world.provider("secondary", "openai", second.url, prices_like="openai")
        for name in ("alone", "retry", "stale", "static"):
            world.route(name, (once, MODEL))
        world.route("fallback", (once, MODEL), (other, MODEL))
        sql = "UPDATE providers_route SET last_resort = %s, static_text = %s WHERE name = %s"
        world.pg.execute(sql, ('["stale_cache"]', "", "stale"))
        world.pg.execute(sql, ('["stale_cache", "static"]', STATIC_TEXT, "static"))
        gateway.wait_for_config(world.version())
        yield Table(gateway, world, valkey, http, primary)


@pytest.mark.parametrize("fault", [*FAULTS, REFUSED, UNTRUSTED])
def test_each_fault_has_its_defined_outcome(table: Table, fault: str) -> None:
    """S0-28, S0-29, S0-30, S2-13, S2-26, S3-11, S3-13, S4-04, S4-05, S4-06, S4-16: the table's rows of this fault."""
    table.begin(fault)
    for _, asked_for, span, *expected in [row for row in rows() if row[0] == fault]:
        found = []
        for column, route in enumerate(ROUTES):
            retries(table, 1 if route == "retry" else 0)
            path = MESSAGES if column == 1 else CHAT
            status, cell = table.cell(fault, route, path, asked_for == "stream")
            assert status == span
            found.append(cell)
        assert found == expected


def retries(table: Table, count: int) -> None:
    table.world.pg.execute("UPDATE providers_provider SET retries = %s WHERE name = 'primary'", (count,))
    table.gateway.wait_for_config(table.world.version())


def test_the_table_of_the_documentation_is_this_one() -> None:
    page = (ROOT / "docs" / "faults.md").read_text()
    shown = [re.sub(r"\s*\|\s*", "|", line) for line in page.splitlines() if line.startswith("|")]
    assert [re.sub(r"\s*\|\s*", "|", line) for line in TABLE.strip().splitlines()] == shown[: len(list(rows())) + 2]


def test_every_row_is_tried() -> None:
    assert {row[0] for row in rows()} == {*FAULTS, REFUSED, UNTRUSTED}

"""Verify, the money: bills against spans, costs against prices, budgets' spend against bills, the ledger against it."""

# ruff: noqa: S608 -- names in the statements are constants, values are bound

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from llmobs.budgets import definition, ledger
from llmobs.budgets.taken import billed_by_value
from llmobs.budgets.valkey import Client, run, scan
from llmobs.budgets.window import NEVER_S, counted_since, window_bounds
from llmobs.core.clock import NS_PER_SECOND, ns_from_utc, utc_from_ns
from llmobs.ops.difference import BILLED_SINCE, COMPLETE_SINCE, MOST_DIFFERENCES, Connection, Difference
from llmobs.ops.verify_sums import USAGE
from llmobs.pricing.cost import cost
from llmobs.pricing.stated import is_stated
from llmobs.pricing.usage import stored_usage
from llmobs.pricing.versions import rates_by_version
from llmobs.spans.shown import ALL_SHOWN


def bills(conn: Connection) -> Iterator[Difference]:
    """Per span: net requests, usage and cost of its bills, against the span."""
    usage = " OR ".join(f"b.{name} <> s.{name}" for name in USAGE)
    raw_usage = ", ".join(f"{value} AS {name}" for name, value in USAGE.items())
    rows = conn.execute(
        "SELECT tenant_id, trace_id, span_id, b.requests, s.requests, b.cost_nanousd, s.cost_nanousd "
        "FROM (SELECT tenant_id, trace_id, span_id, sum(requests) AS requests, "
        "CASE WHEN COALESCE(sum(requests) FILTER (WHERE cost_nanousd IS NULL), 0) = 0 THEN sum(cost_nanousd) END "
        "AS cost_nanousd, "
        + ", ".join(f"sum({name}) AS {name}" for name in USAGE)
        + f" FROM bill WHERE begin_at >= {COMPLETE_SINCE} GROUP BY tenant_id, trace_id, span_id) b FULL JOIN "
        "(SELECT tenant_id, trace_id, span_id, CASE WHEN is_counted AND input_tokens IS NOT NULL THEN 1 ELSE 0 END "
        f"AS requests, shown_nanousd AS cost_nanousd, {raw_usage} FROM {ALL_SHOWN} s "
        f"WHERE is_call AND start >= {COMPLETE_SINCE}) s "
        "USING (tenant_id, trace_id, span_id) WHERE COALESCE(b.requests, 0) <> COALESCE(s.requests, 0) "
        "OR (s.requests IS NULL AND b.requests IS NOT NULL) "
        f"OR (s.requests = 1 AND (b.cost_nanousd IS DISTINCT FROM s.cost_nanousd OR {usage})) "
        "OR (COALESCE(s.requests, 0) = 0 AND COALESCE(b.cost_nanousd, 0) <> 0) "
        f"LIMIT {MOST_DIFFERENCES}"
    ).fetchall()
    for tenant_id, trace_id, span_id, billed, due, billed_nanousd, due_nanousd in rows:
        yield Difference(
            "bill = span",
            f"tenant {tenant_id}, span {bytes(trace_id).hex()}/{bytes(span_id).hex()}",
            f"{billed or 0} bills, {billed_nanousd} nano-USD",
            "no such span" if due is None else f"{due} bills, {due_nanousd} nano-USD",
        )


def costs(conn: Connection) -> Iterator[Difference]:
    """Each priced bill, by the rates kept for its version. Equal usages are computed once."""
    versions = [v for (v,) in conn.execute("SELECT DISTINCT price_version FROM bill WHERE cost_nanousd IS NOT NULL")]
    prices = rates_by_version(conn, versions)
    rows = conn.execute(
        "SELECT tenant_id, price_version, cost_nanousd, kind, units, tier, "
        + ", ".join(USAGE)
        + ", count(*), min(bill_id) "
        "FROM bill WHERE cost_nanousd IS NOT NULL AND kind IN ('measured', 'estimated', 'abandoned') "
        "GROUP BY tenant_id, price_version, cost_nanousd, kind, units, tier, " + ", ".join(USAGE)
    ).fetchall()
    for tenant_id, version, nanousd, kind, units, tier, *classes, count, bill_id in rows:
        if is_stated(version):
            continue  # the provider's word: no rates stand behind it
        price = prices.get(version)
        where = f"tenant {tenant_id}, {count} {kind} bill(s) from {bill_id} on, price {version!r}"
        if price is None:
            yield Difference("cost = usage × price", where, f"{nanousd} nano-USD", "its price version is not kept")
        elif (due := cost(stored_usage(classes, units, tier), price)) != nanousd:
            yield Difference("cost = usage × price", where, f"{nanousd} nano-USD", f"{due} nano-USD")


def repriced(conn: Connection) -> Iterator[Difference]:
    """Each bill with adjustments: their sum, by the rates of the newest version. Equal ones are computed once."""
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in USAGE)
    rows = conn.execute(
        "SELECT tenant_id, version, nanousd, units, tier, " + ", ".join(USAGE) + ", count(*), min(bill_id) FROM ("
        "SELECT tenant_id, trace_id, span_id, begin_at, min(bill_id) AS bill_id, sum(cost_nanousd)::bigint AS nanousd, "
        "(array_agg(price_version ORDER BY bill_id DESC))[1] AS version, max(tier) AS tier, "
        f"(array_agg(units) FILTER (WHERE units IS NOT NULL AND requests > 0))[1] AS units, {sums} FROM bill "
        "GROUP BY tenant_id, trace_id, span_id, begin_at HAVING bool_or(kind = 'adjustment') "
        "AND NOT bool_or(kind = 'reversal') AND COALESCE(sum(requests) FILTER (WHERE cost_nanousd IS NULL), 0) = 0) b "
        "GROUP BY tenant_id, version, nanousd, units, tier, " + ", ".join(USAGE)
    ).fetchall()
    prices = rates_by_version(conn, sorted({row[1] for row in rows}))
    for tenant_id, version, nanousd, units, tier, *classes, count, bill_id in rows:
        if is_stated(version):
            continue  # undone: the provider's word again
        price = prices.get(version)
        due = None if price is None else cost(stored_usage(classes, units, tier), price)
        if due != nanousd:
            where = f"tenant {tenant_id}, {count} re-priced bill(s) from {bill_id} on, price {version!r}"
            yield Difference("re-priced = usage × price", where, f"{nanousd} nano-USD", f"{due} nano-USD")


def repricings(conn: Connection) -> Iterator[Difference]:
    """Each re-pricing's own figure, by tenant, against its adjustments; of an undone one nothing may be left."""
    rows = conn.execute(
        "SELECT c.repricing_id, c.tenant_id, r.state, c.nanousd, COALESCE(a.applied, 0), COALESCE(a.all_of_it, 0), "
        "COALESCE(a.unpriced, 0) FROM (SELECT repricing_id, tenant_id, sum(nanousd)::bigint AS nanousd, "
        "min(since) AS since FROM repricing_chunk GROUP BY 1, 2) c JOIN repricing r ON r.id = c.repricing_id "
        "LEFT JOIN (SELECT tenant_id, substring(reason from '^re-pricing ([0-9]+)')::bigint AS repricing_id, "
        "COALESCE(sum(cost_nanousd) FILTER (WHERE reason ~ '^re-pricing [0-9]+$'), 0)::bigint AS applied, "
        "COALESCE(sum(cost_nanousd), 0)::bigint AS all_of_it, "
        "COALESCE(sum(requests) FILTER (WHERE cost_nanousd IS NULL), 0) AS unpriced "
        "FROM bill WHERE kind = 'adjustment' AND reason LIKE 're-pricing %' GROUP BY 1, 2) a "
        "ON a.tenant_id = c.tenant_id AND a.repricing_id = c.repricing_id ORDER BY 1, 2"
    ).fetchall()
    for repricing_id, tenant_id, state, nanousd, applied, left, unpriced in rows:
        since = _bills_kept_since(conn, tenant_id)
        if since is not None and _began_before(conn, repricing_id, tenant_id, since):
            continue
        where = f"tenant {tenant_id}, re-pricing {repricing_id}"
        if applied != nanousd:
            yield Difference("re-pricing = adjustments", where, f"{nanousd} nano-USD", f"{applied} nano-USD")
        elif state == "undone" and (left or unpriced):
            told = f"{left} nano-USD, {unpriced} requests without a price"
            yield Difference("re-pricing = adjustments", where, "undone", f"{told} left")


def _bills_kept_since(conn: Connection, tenant_id: int) -> datetime | None:
    row = conn.execute(BILLED_SINCE, (tenant_id,)).fetchone()
    return row[0] if row is not None else None


def _began_before(conn: Connection, repricing_id: int, tenant_id: int, since: datetime) -> bool:
    row = conn.execute(
        "SELECT min(since) < %s FROM repricing_chunk WHERE repricing_id = %s AND tenant_id = %s",
        (since, repricing_id, tenant_id),
    ).fetchone()
    return row is not None and bool(row[0])


def spend(conn: Connection, budgets: definition.Budgets) -> Iterator[Difference]:
    """Each window of each counted budget, by value; windows before it was counted are not its matter."""
    for budget in budgets.infos:
        if budget.counted_from_s is None:
            continue
        kept_s = _bills_kept_from_s(conn, budget)
        if kept_s == NEVER_S:
            continue
        kept: dict[tuple[int, str], int] = {
            (ns_from_utc(at) // NS_PER_SECOND, value): spent
            for at, value, spent in conn.execute(
                "SELECT window_start, value, spent FROM budget_spend "
                "WHERE tenant_id = %s AND budget_id = %s AND revision = %s",
                (budget.tenant_id, budget.id, budget.revision),
            )
            if ns_from_utc(at) // NS_PER_SECOND >= kept_s
        }
        raw = _billed(conn, budget, max(budget.counted_from_s, kept_s))
        for key in sorted(kept.keys() | raw.keys()):
            if kept.get(key, 0) != raw.get(key, 0):
                at = datetime.fromtimestamp(key[0], UTC)
                yield Difference(
                    "budget_spend = bills",
                    f"tenant {budget.tenant_id}, budget {budget.name!r}, value {key[1]!r}, window {at:%Y-%m-%d %H:%M}",
                    str(kept.get(key, 0)),
                    str(raw.get(key, 0)),
                )


def _bills_kept_from_s(conn: Connection, budget: definition.BudgetInfo) -> int:
    """The start of the first window of which all bills are kept; 0: none was let go."""
    row = conn.execute(BILLED_SINCE, (budget.tenant_id,)).fetchone()
    if row is None or row[0] is None:
        return 0
    return window_bounds(budget.window, ZoneInfo(budget.zone), ns_from_utc(row[0]) // NS_PER_SECOND)[1]


def _billed(conn: Connection, budget: definition.BudgetInfo, from_s: int) -> dict[tuple[int, str], int]:
    row = conn.execute("SELECT max(begin_at) FROM bill WHERE tenant_id = %s", (budget.tenant_id,)).fetchone()
    last_s = ns_from_utc(row[0]) // NS_PER_SECOND if row and row[0] else -1
    zone = ZoneInfo(budget.zone)
    found: dict[tuple[int, str], int] = {}
    starts_s, ends_s = window_bounds(budget.window, zone, from_s)
    while starts_s <= last_s:
        for value, amount in billed_by_value(conn, budget, starts_s, ends_s).items():
            found[starts_s, value] = amount
        if ends_s == NEVER_S:
            break
        starts_s, ends_s = window_bounds(budget.window, zone, ends_s)
    return found


def ledger_bases(conn: Connection, client: Client, budgets: definition.Budgets) -> Iterator[Difference]:
    """Live windows of counted budgets. Calls in flight hold and settle: compare when nothing runs.

    What the ledger alone has must be nothing: a hold that nobody ended is in a window that may have no spend.
    """
    rows = conn.execute(
        "SELECT tenant_id, budget_id, revision, value, window_start, spent FROM budget_spend ORDER BY tenant_id"
    ).fetchall()
    due: dict[str, tuple[definition.BudgetInfo, str, int]] = {}
    for key in sorted(scan(client, f"{ledger.PREFIX}{{*")):
        parts = ledger.key_parts(key)
        known = budgets.get(parts.budget_id) if parts is not None else None
        if parts is None or known is None or known.revision != parts.revision:
            continue
        if _is_live(known, utc_from_ns(parts.window_start_s * NS_PER_SECOND)):
            due[key] = known, parts.value, 0
    for tenant_id, budget_id, revision, value, window_start, spent in rows:
        budget = budgets.get(budget_id)
        if budget is None or budget.revision != revision or not _is_live(budget, window_start):
            continue
        starts_s = ns_from_utc(window_start) // NS_PER_SECOND
        due[ledger.budget_key(tenant_id, budget_id, revision, starts_s, value)] = budget, value, spent
    for key, (budget, value, spent) in due.items():
        standing = _standing(client, key)
        if standing is None:
            yield Difference("ledger = budget_spend", "the ledger", "it recovers, or is away", "it should be open")
            return
        if (standing.base, standing.pending, standing.held) != (spent, 0, 0):
            yield Difference(
                "ledger = budget_spend",
                f"tenant {budget.tenant_id}, budget {budget.name!r}, value {value!r}",
                f"base {standing.base}, pending {standing.pending}, held {standing.held}",
                f"base {spent}, pending 0, held 0",
            )


def _is_live(budget: definition.BudgetInfo, window_start: datetime) -> bool:
    now_s = int(datetime.now(UTC).timestamp())
    starts_s = ns_from_utc(window_start) // NS_PER_SECOND
    zone = ZoneInfo(budget.zone)
    return counted_since(budget.window, zone, now_s) <= starts_s <= window_bounds(budget.window, zone, now_s)[0]


def _standing(client: Client, key: str) -> ledger.Standing | None:
    answered = ledger.parse_status(run(client, ledger.status([key])))
    return None if isinstance(answered, ledger.Unavailable) else answered[0]

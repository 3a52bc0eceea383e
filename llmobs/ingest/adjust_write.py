"""What a re-pricing writes of `changed` (ingest.adjust), in the transaction that made it.

 1. Adjustments: one beside each bill that changes, of the difference alone. Where a call gets its first price, or loses
    it, two: one takes the bill back, the other is the bill anew, so that counts of unpriced requests stay sums.
 2. What waits for the totals of traces (`spans.trace_deltas`); roll-ups of minutes and hours, and users' days. Roll-ups
    go into the compacted rows at once: a million pending deltas would burden every page until they are compacted.
 3. Budgets: one amount for each window and value, by the conditions that a new budget is counted by.
The rows of each table are locked in the order of their keys. What retention has dropped is not brought back.
"""

# ruff: noqa: S608 -- statements are put together of constants and of a table's own columns, values are bound

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from llmobs.budgets.definition import USD, BudgetInfo, Budgets
from llmobs.budgets.spend import SpendKey, add_amounts
from llmobs.budgets.taken import taken_by_value
from llmobs.budgets.window import NEVER_S, window_bounds
from llmobs.core.clock import NS_PER_SECOND, ns_from_utc
from llmobs.core.ids import new_row_id
from llmobs.ingest.adjust import CLASSES, Connection, Stretch
from llmobs.rollups.bills import mark_all
from llmobs.rollups.compact import DAY_TARGETS, TARGETS, Target, keep_out
from llmobs.rollups.delta import DIMENSIONS, MEASURES, SKETCHES
from llmobs.rollups.retention import MINUTES_KEPT_DAYS

_DIFFERENCE = "new - old"
# Of a budget, which counts what was held until a call has its first price.
_TAKEN = "new - old - gains * held_nanousd"
_KEPT = (
    "begin_at >= date_trunc('day', now()) "
    "- (SELECT LEAST(retention_days, rollup_retention_days) FROM tenants_tenant WHERE id = %s) * interval '1 day'"
)


_UNITS_TAKEN = "(SELECT jsonb_object_agg(key, -value::bigint) FROM jsonb_each_text(units))"


def write_adjustments(conn: Connection, reason: str, bills: int, is_gain: bool) -> int:
    """The bills, each with all that its bill says of whose call it was; answers the highest id that they may have.

    `bills`: how many change; `is_gain`: some of them get their first price, or lose it.
    """
    copied = [
        name
        for (name,) in conn.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'bill'::regclass AND attnum > 0 AND NOT attisdropped "
            "ORDER BY attnum"
        )
    ]
    nothing = dict.fromkeys((*CLASSES, "held_nanousd", "requests"), "0")
    taken = {name: f"-{name}" for name in CLASSES}
    anew = {name: name for name in CLASSES}
    priced_now = "CASE WHEN gains > 0 THEN new END"
    priced_before = "CASE WHEN gains < 0 THEN -old END"
    first_id = new_row_id()  # one stretch of ids for each insert: two begun in one millisecond meet
    _insert(conn, copied, first_id, reason, "gains = 0", {**nothing, "units": "NULL", "cost_nanousd": _DIFFERENCE})
    if is_gain:
        held_before = "CASE WHEN gains > 0 THEN -held_nanousd ELSE 0 END"
        held_now = "CASE WHEN gains < 0 THEN held_nanousd ELSE 0 END"
        back = {**nothing, **taken, "requests": "-1", "units": _UNITS_TAKEN, "cost_nanousd": priced_before}
        back["held_nanousd"] = held_before
        _insert(conn, copied, first_id + bills, reason, "gains <> 0", {**back, "price_version": "version_now"})
        now = {**nothing, **anew, "requests": "1", "cost_nanousd": priced_now, "held_nanousd": held_now}
        _insert(conn, copied, first_id + 2 * bills, reason, "gains <> 0", now)
    mark_all(conn, "changed")
    return first_id + 3 * bills


def _insert(
    conn: Connection, copied: list[str], first_id: int, reason: str, which: str, values: dict[str, str]
) -> None:
    values = {
        "price_version": "version_then", "bill_id": "%s + row_number() OVER ()", "kind": "'adjustment'",
        "reason": "%s", **values,
    }  # fmt: skip
    selected = ", ".join(values.get(name, name) for name in copied)
    given = {"bill_id": first_id, "reason": reason}
    conn.execute(
        f"INSERT INTO bill ({', '.join(copied)}) SELECT {selected} FROM changed WHERE {which}",
        [given[name] for name in copied if name in given],
    )


# ---------------------------------------------------------------- traces


def write_traces(conn: Connection, stretch: Stretch) -> None:
    """A trace's rows add up: the one of the call's day takes it, else its earliest."""
    conn.execute(
        "INSERT INTO trace_delta (tenant_id, trace_id, day, cost_nanousd, gained) "
        "SELECT %(tenant_id)s, c.trace_id, COALESCE(t.day, (SELECT min(e.day) FROM trace e "
        "WHERE e.tenant_id = %(tenant_id)s AND e.trace_id = c.trace_id), %(day)s), c.nanousd, c.gained "
        f"FROM (SELECT trace_id, sum({_DIFFERENCE})::bigint AS nanousd, sum(gains)::integer AS gained FROM changed "
        "GROUP BY trace_id ORDER BY trace_id) c LEFT JOIN trace t ON t.tenant_id = %(tenant_id)s "
        "AND t.trace_id = c.trace_id AND t.day = %(day)s WHERE c.nanousd <> 0 OR c.gained <> 0 ORDER BY c.trace_id",
        {"tenant_id": stretch.tenant_id, "day": stretch.since.date()},
    )


# ---------------------------------------------------------------- roll-ups


def write_rollups(conn: Connection, stretch: Stretch) -> None:
    """Money, estimated money and unpriced calls, where calls are counted; and the users' days."""
    minutes = f"{_KEPT} AND begin_at >= date_trunc('day', now()) - interval '{MINUTES_KEPT_DAYS} days'"
    conn.execute(
        "CREATE TEMP TABLE regrouped ON COMMIT DROP AS SELECT tenant_id, date_trunc('minute', begin_at, 'UTC') AS "
        f"begin_at, {', '.join(DIMENSIONS)}, sum({_DIFFERENCE})::bigint AS cost_nanousd, "
        f"COALESCE(sum({_DIFFERENCE}) FILTER (WHERE is_estimated), 0)::bigint AS estimated_nanousd, "
        f"-sum(gains)::bigint AS unpriced_calls FROM changed WHERE has_span AND {_KEPT} "
        f"GROUP BY {', '.join(map(str, range(1, 3 + len(DIMENSIONS))))}",
        (stretch.tenant_id,),
    )
    keep_out(conn)
    for target in TARGETS:
        _add(conn, target, stretch, minutes if target.is_short_lived else _KEPT)
    for target in DAY_TARGETS:
        _add(conn, target, stretch, f"{_KEPT} AND begin_at < (SELECT until FROM rollup_closed)")
    conn.execute(
        "INSERT INTO rollup_user_day AS u (tenant_id, day, user_id, calls, errors, input_tokens, output_tokens, "
        "cost_nanousd, unpriced_calls) SELECT tenant_id, (begin_at AT TIME ZONE 'UTC')::date, user_id, 0, 0, 0, 0, "
        f"sum({_DIFFERENCE})::bigint, -sum(gains)::bigint FROM changed WHERE user_id <> '' AND has_span AND {_KEPT} "
        "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 ON CONFLICT (tenant_id, day, user_id) DO UPDATE SET "
        "cost_nanousd = u.cost_nanousd + excluded.cost_nanousd, "
        "unpriced_calls = u.unpriced_calls + excluded.unpriced_calls",
        (stretch.tenant_id,),
    )


_MONEY = ("cost_nanousd", "estimated_nanousd", "unpriced_calls")


def _add(conn: Connection, target: Target, stretch: Stretch, which: str) -> None:
    values = [f"sum({name})::bigint" if name in _MONEY else "'{}'" if name in SKETCHES else "0" for name in MEASURES]
    grouped = ["tenant_id", target.begin_sql("begin_at"), *target.dimensions]
    keys = ", ".join(map(str, range(1, 1 + len(grouped))))
    conn.execute(
        f"INSERT INTO {target.table} AS r ({', '.join((*target.key, *MEASURES))}) "
        f"SELECT {', '.join((*grouped, *values))} FROM regrouped WHERE {which} GROUP BY {keys} ORDER BY {keys} "
        f"ON CONFLICT ({', '.join(target.key)}) DO UPDATE SET "
        + ", ".join(f"{name} = r.{name} + excluded.{name}" for name in _MONEY),
        (stretch.tenant_id,),
    )


# ---------------------------------------------------------------- budgets


def write_spend(conn: Connection, stretch: Stretch, budgets: Budgets) -> None:
    """Add the differences to the durable spend. `budgets`: as they are in this transaction."""
    add_amounts(conn, budgets, of_budgets(conn, stretch, budgets))


def of_budgets(conn: Connection, stretch: Stretch, budgets: Budgets) -> dict[SpendKey, int]:
    """What `changed` adds to each window and value of the budgets that count it."""
    found = {}
    for budget in budgets.infos:
        counted_s = budget.counted_from_s
        if budget.tenant_id != stretch.tenant_id or budget.unit != USD or counted_s is None:
            continue
        for starts_s, ends_s in _windows(budget, stretch):
            amounts = taken_by_value(conn, budget, max(starts_s, counted_s), ends_s, "changed", _TAKEN)
            for value, amount in amounts.items():
                found[SpendKey(budget.tenant_id, budget.id, budget.revision, value, starts_s)] = amount
    return found


def _windows(budget: BudgetInfo, stretch: Stretch) -> Iterator[tuple[int, int]]:
    """Begin and end of those that the stretch meets; of a rolling one its days."""
    zone = ZoneInfo(budget.zone)
    until_s = -(-ns_from_utc(stretch.until) // NS_PER_SECOND)
    starts_s, ends_s = window_bounds(budget.window, zone, ns_from_utc(stretch.since) // NS_PER_SECOND)
    while starts_s < until_s:
        yield starts_s, ends_s
        if ends_s == NEVER_S:
            return
        starts_s, ends_s = window_bounds(budget.window, zone, ends_s)

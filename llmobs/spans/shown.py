"""What a call's cost is now: the span says what it was first billed at, adjustments beside its bill say what changed.

A span's row is never written again for a new price: ten million rows with seven indexes would be, and the bills know.
"""

# ruff: noqa: S608 -- constants put together

_SHOWN = """CASE WHEN s.is_counted AND (s.cost_nanousd IS NOT NULL OR a.unpriced < 0)
        THEN COALESCE(s.cost_nanousd, 0) + COALESCE(a.nanousd, 0) END AS shown_nanousd"""
_SUMS = """COALESCE(sum(cost_nanousd), 0)::bigint AS nanousd,
        COALESCE(sum(requests) FILTER (WHERE cost_nanousd IS NULL), 0) AS unpriced"""

# A sub-select of spans with `shown_nanousd`: null where the call has no price, or does not count. Of all spans.
ALL_SHOWN = f"""
(SELECT s.*, {_SHOWN}
 FROM span s LEFT JOIN (
    SELECT tenant_id, trace_id, span_id, begin_at, {_SUMS}
    FROM bill WHERE kind = 'adjustment' GROUP BY 1, 2, 3, 4) a
 ON a.tenant_id = s.tenant_id AND a.trace_id = s.trace_id AND a.span_id = s.span_id AND a.begin_at = s.start)
"""

# The same for the spans of one trace, whose adjustments are read at once. Parameters by name: tenant_id, trace_id,
# since, until (aware datetimes).
TRACE_SHOWN = f"""
(SELECT s.*, {_SHOWN}
 FROM span s LEFT JOIN (
    SELECT span_id, begin_at, {_SUMS} FROM bill WHERE kind = 'adjustment' AND tenant_id = %(tenant_id)s
        AND trace_id = %(trace_id)s AND begin_at >= %(since)s AND begin_at <= %(until)s GROUP BY 1, 2) a
 ON a.span_id = s.span_id AND a.begin_at = s.start
 WHERE s.tenant_id = %(tenant_id)s AND s.trace_id = %(trace_id)s AND s.start >= %(since)s AND s.start <= %(until)s)
"""

# The same for some spans, of which each is looked up: name a tenant and a time outside of it.
SOME_SHOWN = f"""
(SELECT s.*, {_SHOWN}
 FROM span s LEFT JOIN LATERAL (
    SELECT {_SUMS} FROM bill WHERE kind = 'adjustment' AND bill.tenant_id = s.tenant_id
        AND bill.trace_id = s.trace_id AND bill.span_id = s.span_id AND bill.begin_at = s.start) a ON true)
"""

"""The statements that make a day of spans with all that is kept of them (`scale.py` runs them).

Sizes of prompts and answers, and when in an hour they come, are the real trace's rows (`shape`); whatever it does not
hold (models, tools, errors, users, words) is drawn by a hash of the trace's number, so that a run can be repeated.

Rows are as the writer leaves them (tests/test_scale.py compares): nothing is kept as null, what a span's own page
alone shows lies in blocks of details. A block has slots for each kind of span (`DETAIL_KINDS`) in the parts in which
kinds come; a span picks one of its kind's. So a few bodies do for all blocks, and each span reads what is its own.
"""

from llmobs.rollups.compact import Target
from llmobs.rollups.delta import DIMENSIONS, MEASURES, SUMS

SCOPE = "opentelemetry.instrumentation.openai_v2"
# Of 200 slots: what is no call, a call that failed, one that each of `scale.MODELS` answered.
DETAIL_KINDS = (72, 2, 32, 50, 26, 12, 6)

DRAW = """
CREATE OR REPLACE FUNCTION pg_temp.draw(number bigint, salt bigint, below int) RETURNS int LANGUAGE sql IMMUTABLE
AS 'SELECT ((hashint8extended(number, salt) & 9223372036854775807) % below)::int'
"""

SHAPE = """
CREATE TEMP TABLE shape (id int PRIMARY KEY, at_part float8, context int, generated int);
CREATE TEMP TABLE sentence (id int PRIMARY KEY, words text);
CREATE TEMP TABLE model (id int PRIMARY KEY, provider text, name text, token_ms float8, version text,
    input bigint, cached bigint, output bigint)
"""

# A row per trace: whose, when, how many spans. One of 20,000 in all, one of 500 a day, the others of 1 to 20.
MADE = """
CREATE TEMP TABLE made ON COMMIT DROP AS
SELECT g, tenant_id, n, %(day)s::timestamptz + hour * interval '1 hour' + at_part * 0.97 * interval '1 hour' AS t0,
    tenant_id || '-feature-' || draw_feature AS feature, 'user-' || tenant_id || '-' || draw_user AS user_id,
    's-' || tenant_id || '-' || draw_user || '-' || %(number)s || '-' || draw_session AS session_id,
    (ARRAY['api', 'worker', 'batch'])[1 + draw_feature %% 3] AS service,
    (ARRAY['production', 'production', 'production', 'staging'])[1 + pg_temp.draw(g, 15, 4)] AS environment,
    tenant_id * 10 + draw_feature %% 3 AS key_id, %(has_content)s AND pg_temp.draw(g, 16, 100) < 1 AS has_content,
    -- What came at one time lies together: as many blocks in an hour as the tenant's spans fill.
    %(detail_base)s::bigint + hour * 100000 + (at_part * greatest((%(hour_spans)s::int[])[hour + 1]
        * (ARRAY[0.4, 0.25, 0.2, 0.1, 0.05])[tenant_id] / 200, 1))::int AS detail_base
FROM (
    SELECT g, hour, s.at_part,
        CASE WHEN g = %(first)s + 1 AND %(has_largest)s THEN 20000 WHEN g = %(first)s + 2 THEN 500
             WHEN share < 550 THEN 1 WHEN share < 650 THEN 2 WHEN share < 900 THEN 3 + share %% 6
             ELSE 9 + share %% 12 END AS n,
        CASE WHEN whose < 40 THEN 1 WHEN whose < 65 THEN 2 WHEN whose < 85 THEN 3 WHEN whose < 95 THEN 4 ELSE 5
            END AS tenant_id,
        (8 * pow(pg_temp.draw(g, 11, 1000) / 1000.0, 2))::int AS draw_feature,
        (%(users)s * pow(pg_temp.draw(g, 12, 100000) / 100000.0, 2))::int AS draw_user,
        pg_temp.draw(g, 13, 3) AS draw_session
    FROM (SELECT %(first)s::bigint + n AS g, CASE WHEN n < 3 THEN 1
                ELSE (%(hours)s::int[])[1 + pg_temp.draw(%(first)s + n, 1, %(hour_count)s)] END AS hour,
            CASE WHEN n < 3 THEN 200 ELSE pg_temp.draw(%(first)s + n, 2, 1000) END AS share,
            pg_temp.draw(%(first)s + n, 3, 100) AS whose,
            pg_temp.draw(%(first)s + n, 4, %(shapes)s) AS shape
        FROM generate_series(1, %(traces)s) n) x JOIN shape s ON s.id = x.shape
) y
"""

SPAN = """
INSERT INTO {table} (tenant_id, trace_id, span_id, parent_span_id, start, duration_ns, name, source, is_call,
    is_counted, is_estimated, is_stream, operation_name, status, error_type, status_message, provider_name,
    request_model, response_model, response_id, finish_reasons, input_tokens, output_tokens, cache_read_input_tokens,
    cache_creation_input_tokens, cache_creation_1h_input_tokens, reasoning_output_tokens, cost_nanousd, price_version,
    held_nanousd, ttft_ns, service, environment, feature, user_id, session_id, key_id, prompt_version, scope_name,
    preview, block_id, block_slot, attributes, adapter, detail_id, detail_slot)
SELECT tenant_id, uuid_send(md5('trace' || g)::uuid), int8send(hashint8extended(place, 91)),
    CASE WHEN i = 0 THEN NULL WHEN n <= 40 OR i %% 50 = 1 THEN int8send(hashint8extended(g * 32768, 91))
         ELSE int8send(hashint8extended(place - (i - 1) %% 50, 91)) END,
    t0 + i * interval '0.3 s',
    CASE WHEN is_call THEN (CASE WHEN failed THEN 250000000 + pg_temp.draw(place, 31, 900000000)
            ELSE first_ns + (generated * token_ms * (80 + pg_temp.draw(place, 32, 45)) * 10000)::bigint END)
         WHEN is_tool THEN 20000000 + pg_temp.draw(place, 33, 400000000)
         WHEN i = 0 THEN n * 300000000::bigint + 1000000000 ELSE 15000000000 END,
    CASE WHEN is_call THEN 'chat ' || model WHEN is_tool THEN 'execute_tool ' || tool
         WHEN i = 0 THEN 'invoke_agent ' || feature ELSE 'step ' || i / 50 END,
    2, is_call, is_call, false, is_call AND is_stream,
    CASE WHEN is_call THEN 'chat' WHEN is_tool THEN 'execute_tool' ELSE 'invoke_agent' END,
    CASE WHEN failed THEN 'failed' ELSE 'ok' END,
    CASE WHEN failed THEN (ARRAY['RateLimitError', 'APITimeoutError'])[1 + i %% 2] ELSE '' END,
    CASE WHEN failed THEN '429: too many requests' ELSE '' END,
    CASE WHEN is_call THEN provider ELSE '' END, CASE WHEN is_call THEN model ELSE '' END,
    CASE WHEN answered THEN model ELSE '' END, CASE WHEN answered THEN 'resp-' || place ELSE '' END,
    NULL, CASE WHEN answered THEN context END, CASE WHEN answered THEN generated END,
    CASE WHEN answered THEN nullif(context * cached_share / 10, 0) END, NULL, NULL, NULL,
    CASE WHEN answered AND version <> '' THEN ((context - context * cached_share / 10) * input
        + context * cached_share / 10 * cached + generated * output + 999999) / 1000000 END,
    '', NULL, CASE WHEN answered AND is_stream THEN first_ns END,
    service, environment, feature, user_id, session_id, key_id, '', '',
    CASE WHEN is_call AND CASE WHEN %(has_content)s THEN i %% 2 = 0 ELSE pg_temp.draw(place, 35, 50) = 0 END
        THEN words || ' order ' || place ELSE '' END,
    CASE WHEN has_content AND n <= 20 THEN g END, CASE WHEN has_content AND n <= 20 THEN i END,
    NULL, %(adapter)s, detail_base + i / 200,
    (%(detail_slots)s::int[])[kind] + pg_temp.draw(place, 36, (%(detail_kinds)s::int[])[kind])
FROM (
    SELECT *, is_call AND NOT failed AS answered, 150000000 + pg_temp.draw(place, 34, 500000000)::bigint AS first_ns,
        CASE WHEN NOT is_call THEN 1 WHEN failed THEN 2 ELSE 3 + number END AS kind
    FROM (
        SELECT m.*, i, place, s.context, s.generated, o.id AS number, o.provider, o.name AS model, o.token_ms,
            o.version, o.input, o.cached, o.output, e.words, is_call, NOT is_call AND i > 0 AND i %% 50 <> 1 AS is_tool,
            is_call AND pg_temp.draw(place, 25, 1000) < 14 AS failed, pg_temp.draw(place, 26, 10) < 3 AS is_stream,
            greatest(pg_temp.draw(place, 27, 14) - 5, 0) AS cached_share,
            (ARRAY['search_documents', 'find_order', 'read_file'])[1 + i %% 3] AS tool
        FROM made m CROSS JOIN LATERAL (
            SELECT i, m.g * 32768 + i AS place, m.n = 1 OR (i > 0 AND i %% 3 <> 2 AND (m.n <= 40 OR i %% 50 <> 1))
                AS is_call FROM generate_series(0, m.n - 1) i) p
        JOIN shape s ON s.id = pg_temp.draw(place, 21, %(shapes)s)
        JOIN model o ON o.id = (%(models)s::int[])[1 + pg_temp.draw(place, 22, cardinality(%(models)s::int[]))]
        JOIN sentence e ON e.id = pg_temp.draw(place, 23, %(sentences)s)
        WHERE m.t0 + i * interval '0.3 s' < %(until)s
    ) x
) y
ORDER BY t0, i
"""

TRACE = """
INSERT INTO {table} (tenant_id, trace_id, day, start, finish, root_span_id, name, status, span_count, call_count,
    error_count, input_tokens, output_tokens, cost_nanousd, priced_count, unpriced_count, estimated_count, models,
    feature, environment, user_id, session_id)
SELECT tenant_id, trace_id, %(day)s::date, min(start), max(start + duration_ns / 1000 * interval '1 microsecond'),
    min(span_id) FILTER (WHERE parent_span_id IS NULL), min(name) FILTER (WHERE parent_span_id IS NULL),
    min(status) FILTER (WHERE parent_span_id IS NULL), count(*), count(*) FILTER (WHERE is_call),
    count(*) FILTER (WHERE status = 'failed'), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),
    coalesce(sum(cost_nanousd), 0), count(cost_nanousd), count(*) FILTER (WHERE status = 'ok' AND is_call
    AND cost_nanousd IS NULL), 0, coalesce(array_agg(DISTINCT request_model) FILTER (WHERE is_call), '{{}}'),
    min(feature), min(environment), min(user_id), min(session_id)
FROM {spans} GROUP BY tenant_id, trace_id ORDER BY min(start)
"""

BILL = """
INSERT INTO {table} (tenant_id, bill_id, begin_at, trace_id, span_id, kind, reason, source, requests, provider_name,
    model, response_id, uncached_input_tokens, cache_read_input_tokens, cache_write_5m_input_tokens,
    cache_write_1h_input_tokens, output_tokens, reasoning_output_tokens, cost_nanousd, price_version, held_nanousd,
    budgets, service, environment, feature, user_id, session_id, key_id, tier, prompt_version)
SELECT tenant_id, (extract(epoch FROM start) * 1000)::bigint << 22 | row_number() OVER () %% 4194304, start, trace_id,
    span_id, 'measured', '', source, 1, provider_name, response_model, '',
    input_tokens - coalesce(cache_read_input_tokens, 0), coalesce(cache_read_input_tokens, 0), 0, 0, output_tokens, 0,
    cost_nanousd, m.version, 0, (%(budgets)s::text[])[tenant_id], service, environment, feature, user_id, session_id,
    key_id, '', ''
FROM {spans} JOIN model m ON m.name = response_model WHERE is_counted AND input_tokens IS NOT NULL
"""

# As `ingest.copying` shortens them: 64 bits of the MD5 of what is longer than 12 characters.
_SHORT = "CASE WHEN length({0}) > 12 THEN encode(decode(left(md5({0}), 16), 'hex'), 'base64') ELSE {0} END"
CLAIM = f"""
INSERT INTO claim (tenant_id, trace_id, span_id, parent_span_id, start, finish, source, scope_name, yields, response_id,
    input_tokens, output_tokens, is_counted, bill_id)
SELECT s.tenant_id, s.trace_id, s.span_id, s.parent_span_id, s.start,
    s.start + s.duration_ns / 1000 * interval '1 microsecond', s.source, {_SHORT.format("%(scope)s")}, false,
    {_SHORT.format("s.response_id")}, s.input_tokens, s.output_tokens, true, b.bill_id
FROM {{spans}} s LEFT JOIN {{bills}} b USING (tenant_id, trace_id, span_id) WHERE s.is_call
"""

USERS = """
INSERT INTO rollup_user_day (tenant_id, day, user_id, calls, errors, input_tokens, output_tokens, cost_nanousd,
    unpriced_calls)
SELECT tenant_id, %(day)s::date, user_id, count(*), count(*) FILTER (WHERE status = 'failed'),
    coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cost_nanousd), 0),
    count(*) FILTER (WHERE status = 'ok' AND cost_nanousd IS NULL)
FROM {spans} WHERE is_counted GROUP BY 1, 2, 3
"""

BLOCKS = """
INSERT INTO {table} (tenant_id, block_id, day, body)
SELECT DISTINCT tenant_id, block_id, %(day)s::date,
    (%(bodies)s::bytea[])[1 + block_id %% cardinality(%(bodies)s::bytea[])]
FROM {spans} WHERE block_id IS NOT NULL
"""

DETAILS = """
INSERT INTO {table} (tenant_id, detail_id, day, body)
SELECT tenant_id, detail_id, %(day)s::date,
    (%(details)s::bytea[])[1 + detail_id %% cardinality(%(details)s::bytea[])]
FROM {spans} GROUP BY tenant_id, detail_id ORDER BY detail_id, tenant_id
"""

METERED = """
INSERT INTO conformance (tenant_id, day, scope_name, scope_version, adapter, what, count, trace_id, span_id)
SELECT c.tenant_id, %(day)s::date, %(scope)s, '', %(adapter)s, w.what, w.number, one.trace_id, one.span_id
FROM (SELECT tenant_id, count(*) AS spans, count(*) FILTER (WHERE is_call) AS calls FROM {spans} GROUP BY 1) c
CROSS JOIN LATERAL (SELECT trace_id, span_id FROM {spans} s WHERE s.tenant_id = c.tenant_id LIMIT 1) one
CROSS JOIN LATERAL (VALUES ('spans', c.spans), ('calls', c.calls)) w (what, number) WHERE w.number > 0
"""

_SUMS = {
    "spans": "count(*)",
    "calls": "count(*) FILTER (WHERE is_call)",
    "uncached_input_tokens": "sum(input_tokens - coalesce(cache_read_input_tokens, 0))",
    "cache_read_input_tokens": "sum(cache_read_input_tokens)",
    "output_tokens": "sum(output_tokens)",
    "cost_nanousd": "sum(cost_nanousd)",
    "unpriced_calls": "count(*) FILTER (WHERE is_call AND status = 'ok' AND cost_nanousd IS NULL)",
    "streamed_output_tokens": "sum(output_tokens) FILTER (WHERE {streamed})",
    "streaming_ms": "sum((duration_ns - ttft_ns) / 1000000) FILTER (WHERE {streamed})",
}
_STREAMED = "is_stream AND input_tokens IS NOT NULL AND duration_ns - ttft_ns >= 1000000"
_KEY = ["tenant_id", "at", *DIMENSIONS]


def _sketch(name: str, value: str) -> str:
    bucket = f"ceil(ln(greatest({value} / 1000000.0::float8, 0.001)) / ln(1.02::float8))::smallint"
    key = ", ".join(_KEY)
    return (
        f"{name} AS (SELECT {key}, array_agg(bucket ORDER BY bucket) AS buckets, array_agg(number ORDER BY bucket) "
        f"AS counts FROM (SELECT {key}, {bucket} AS bucket, count(*) AS number FROM raw WHERE is_call "
        f"AND {value} IS NOT NULL GROUP BY {key}, bucket) x GROUP BY {key})"
    )


def minutes(spans: str) -> str:
    """A day's spans into `rollup_minute`."""
    sums = ", ".join(
        f"coalesce({_SUMS.get(name, '0').format(streamed=_STREAMED)}, 0)::bigint AS {name}" for name in SUMS
    )
    key = ", ".join(_KEY)
    same = " AND ".join(f"g.{name} = {{0}}.{name}" for name in _KEY)
    return (
        f"WITH raw AS MATERIALIZED (SELECT *, date_trunc('minute', start, 'UTC') AS at, "
        f"coalesce(nullif(response_model, ''), request_model) AS model FROM {spans}), "
        f"g AS (SELECT {key}, {sums} FROM raw GROUP BY {key}), {_sketch('d', 'duration_ns')}, "
        f"{_sketch('t', 'ttft_ns')} "
        f"INSERT INTO rollup_minute (tenant_id, minute, {', '.join([*DIMENSIONS, *MEASURES])}) "
        f"SELECT {', '.join(f'g.{name}' for name in [*_KEY, *SUMS])}, coalesce(d.buckets, '{{}}'), "
        "coalesce(d.counts, '{}'), coalesce(t.buckets, '{}'), coalesce(t.counts, '{}') "
        f"FROM g LEFT JOIN d ON {same.format('d')} LEFT JOIN t ON {same.format('t')} ORDER BY 1, 2"
    )


def coarser(to: Target, since: Target) -> str:
    """A day of a finer table into a coarser one; `since` names the finer one."""
    key = ["tenant_id", "at", *to.dimensions]
    keys = ", ".join(key)
    finer = (
        f"SELECT tenant_id, {to.begin_sql(since.bucket)} AS at, "
        f"{', '.join([*to.dimensions, *MEASURES])} FROM {since.table} "
        f"WHERE {since.bucket} >= %(day)s AND {since.bucket} < %(end)s"
    )

    def sketch(name: str, kind: str) -> str:
        return (
            f"{name} AS (SELECT {keys}, array_agg(b ORDER BY b) AS buckets, array_agg(number ORDER BY b) AS counts "
            f"FROM (SELECT {keys}, b, sum(c)::bigint AS number FROM raw, unnest({kind}_buckets, {kind}_counts) "
            f"AS u (b, c) GROUP BY {keys}, b) x GROUP BY {keys})"
        )

    same = " AND ".join(f"g.{name} = {{0}}.{name}" for name in key)
    return (
        f"WITH raw AS MATERIALIZED ({finer}), g AS (SELECT {keys}, "
        f"{', '.join(f'sum({name})::bigint AS {name}' for name in SUMS)} FROM raw GROUP BY {keys}), "
        f"{sketch('d', 'duration')}, {sketch('t', 'ttft')} "
        f"INSERT INTO {to.table} (tenant_id, {to.bucket}, {', '.join([*to.dimensions, *MEASURES])}) "
        f"SELECT {', '.join(f'g.{name}' for name in [*key, *SUMS])}, coalesce(d.buckets, '{{}}'), "
        "coalesce(d.counts, '{}'), coalesce(t.buckets, '{}'), coalesce(t.counts, '{}') "
        f"FROM g LEFT JOIN d ON {same.format('d')} LEFT JOIN t ON {same.format('t')} ORDER BY 1, 2"
    )

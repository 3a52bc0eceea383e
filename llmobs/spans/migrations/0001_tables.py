"""The large tables: partitioned by day (claims by tenant), every key beginning with the tenant (STORAGE.md)."""

from django.db import migrations

SPAN = """
CREATE TABLE span (
    tenant_id bigint NOT NULL,
    trace_id bytea NOT NULL,
    span_id bytea NOT NULL,
    parent_span_id bytea,
    start timestamptz NOT NULL,
    duration_ns bigint NOT NULL,
    name text NOT NULL,
    source smallint NOT NULL,
    is_call boolean NOT NULL,
    is_counted boolean NOT NULL,
    is_estimated boolean NOT NULL,
    is_stream boolean NOT NULL,
    operation_name text NOT NULL,
    status text NOT NULL,
    error_type text NOT NULL,
    status_message text NOT NULL,
    provider_name text NOT NULL,
    request_model text NOT NULL,
    response_model text NOT NULL,
    response_id text NOT NULL,
    finish_reasons text[] NOT NULL,
    input_tokens bigint,
    output_tokens bigint,
    cache_read_input_tokens bigint,
    cache_creation_input_tokens bigint,
    cache_creation_1h_input_tokens bigint,
    reasoning_output_tokens bigint,
    cost_nanousd bigint,
    price_version text NOT NULL,
    stated_cost_nanousd bigint,
    held_nanousd bigint NOT NULL,
    ttft_ns bigint,
    service text NOT NULL,
    environment text NOT NULL,
    feature text NOT NULL,
    user_id text NOT NULL,
    session_id text NOT NULL,
    key_id bigint NOT NULL,
    prompt_version text NOT NULL,
    scope_name text NOT NULL,
    preview text NOT NULL,
    block_id bigint,
    block_slot smallint,
    attributes jsonb NOT NULL
) PARTITION BY RANGE (start);
CREATE UNIQUE INDEX span_once ON span (tenant_id, trace_id, span_id, start);
CREATE INDEX span_by_start ON span (tenant_id, start DESC);
CREATE INDEX span_errors ON span (tenant_id, start DESC)
    WHERE status IN ('failed', 'timed_out', 'cut_off', 'abandoned');
CREATE INDEX span_refusals ON span (tenant_id, start DESC) WHERE status = 'refused';
CREATE INDEX span_by_feature ON span (tenant_id, feature, request_model, start DESC) WHERE is_call;
CREATE INDEX span_by_user ON span (tenant_id, user_id, start DESC) WHERE user_id <> '';
CREATE INDEX span_by_session ON span (tenant_id, session_id, start DESC) WHERE session_id <> '';
COMMENT ON COLUMN span.is_counted IS 'this call span bears the bill and is one request in the roll-ups (count once)';
COMMENT ON COLUMN span.cost_nanousd IS 'what its bill says; null: unpriced, unknown, or counted elsewhere';
COMMENT ON COLUMN span.input_tokens IS 'includes cache reads and writes';
COMMENT ON COLUMN span.cache_creation_input_tokens IS 'all cache writes, of which cache_creation_1h_input_tokens';
"""

PAYLOAD_BLOCK = """
CREATE TABLE payload_block (
    tenant_id bigint NOT NULL,
    block_id bigint NOT NULL,
    day date NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (tenant_id, block_id, day)
) PARTITION BY RANGE (day);
ALTER TABLE payload_block ALTER COLUMN body SET STORAGE EXTERNAL;
COMMENT ON COLUMN payload_block.body IS 'zstd of msgpack: a list by slot of [input, output] texts or nulls';
"""

TRACE = """
CREATE TABLE trace (
    tenant_id bigint NOT NULL,
    trace_id bytea NOT NULL,
    day date NOT NULL,
    start timestamptz NOT NULL,
    finish timestamptz NOT NULL,
    root_span_id bytea,
    name text NOT NULL,
    status text NOT NULL,
    span_count integer NOT NULL,
    call_count integer NOT NULL,
    error_count integer NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cost_nanousd bigint NOT NULL,
    priced_count integer NOT NULL,
    unpriced_count integer NOT NULL,
    estimated_count integer NOT NULL,
    models text[] NOT NULL,
    feature text NOT NULL,
    environment text NOT NULL,
    user_id text NOT NULL,
    session_id text NOT NULL,
    PRIMARY KEY (tenant_id, trace_id, day)
) PARTITION BY RANGE (day);
CREATE INDEX trace_by_start ON trace (tenant_id, start DESC, trace_id);
CREATE INDEX trace_by_cost ON trace (tenant_id, cost_nanousd DESC, trace_id);
CREATE INDEX trace_by_duration ON trace (tenant_id, (finish - start) DESC, trace_id);
CREATE INDEX trace_errors ON trace (tenant_id, start DESC) WHERE error_count > 0;
CREATE INDEX trace_by_session ON trace (tenant_id, session_id, start DESC) WHERE session_id <> '';
CREATE INDEX trace_by_user ON trace (tenant_id, user_id, start DESC) WHERE user_id <> '';
COMMENT ON TABLE trace IS
    'totals of a trace by the day of its first span in a batch: a trace over midnight has two rows, which add up';
COMMENT ON COLUMN trace.root_span_id IS 'null until the span without a parent has come';
COMMENT ON COLUMN trace.status IS 'of the root span, else of the worst span so far';
"""

BILL = """
CREATE TABLE bill (
    tenant_id bigint NOT NULL,
    bill_id bigint NOT NULL,
    begin_at timestamptz NOT NULL,
    trace_id bytea NOT NULL,
    span_id bytea NOT NULL,
    kind text NOT NULL CHECK (kind IN ('measured', 'estimated', 'abandoned', 'reversal', 'adjustment')),
    reason text NOT NULL,
    source smallint NOT NULL,
    requests smallint NOT NULL,
    provider_name text NOT NULL,
    model text NOT NULL,
    response_id text NOT NULL,
    uncached_input_tokens bigint NOT NULL,
    cache_read_input_tokens bigint NOT NULL,
    cache_write_5m_input_tokens bigint NOT NULL,
    cache_write_1h_input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_output_tokens bigint NOT NULL,
    cost_nanousd bigint,
    price_version text NOT NULL,
    held_nanousd bigint NOT NULL,
    budget_ids bigint[] NOT NULL,
    service text NOT NULL,
    environment text NOT NULL,
    feature text NOT NULL,
    user_id text NOT NULL,
    session_id text NOT NULL,
    key_id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, bill_id, begin_at)
) PARTITION BY RANGE (begin_at);
CREATE INDEX bill_by_begin ON bill (tenant_id, begin_at);
CREATE INDEX bill_by_span ON bill (tenant_id, trace_id, span_id);
COMMENT ON TABLE bill IS 'the only money: append-only, one per provider response; a reversal has all figures negative';
COMMENT ON COLUMN bill.requests IS '1, -1 for a reversal, 0 for an adjustment';
COMMENT ON COLUMN bill.cost_nanousd IS 'null: unpriced';
COMMENT ON COLUMN bill.begin_at IS 'start of the call: the budget windows it belongs to';
"""

CLAIM = """
CREATE TABLE claim (
    tenant_id bigint NOT NULL,
    trace_id bytea NOT NULL,
    span_id bytea NOT NULL,
    parent_span_id bytea,
    start timestamptz NOT NULL,
    finish timestamptz NOT NULL,
    source smallint NOT NULL,
    scope_name text NOT NULL,
    yields boolean NOT NULL,
    response_id text NOT NULL,
    usage bigint[],
    is_counted boolean NOT NULL,
    bill_id bigint,
    PRIMARY KEY (tenant_id, trace_id, span_id)
) PARTITION BY HASH (tenant_id);
CREATE INDEX claim_by_response ON claim (tenant_id, response_id) WHERE response_id <> '';
CREATE INDEX claim_yielding ON claim (tenant_id, start) WHERE yields;
COMMENT ON TABLE claim IS 'each call span seen, and whether it is the one that counts (ingest/count_once.py)';
COMMENT ON COLUMN claim.yields IS 'gives way to any other report of the same call (raw twins, SDKs'' own spans)';
"""

CLAIM_PARTITIONS = "\n".join(
    f"CREATE TABLE claim_{n} PARTITION OF claim FOR VALUES WITH (MODULUS 8, REMAINDER {n});" for n in range(8)
)


class Migration(migrations.Migration):
    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [
        migrations.RunSQL(SPAN, "DROP TABLE span"),
        migrations.RunSQL(PAYLOAD_BLOCK, "DROP TABLE payload_block"),
        migrations.RunSQL(TRACE, "DROP TABLE trace"),
        migrations.RunSQL(BILL, "DROP TABLE bill"),
        migrations.RunSQL(CLAIM + CLAIM_PARTITIONS, "DROP TABLE claim"),
    ]

"""What the gateway's calls add: attempts of one call, answers out of the cache, and how fast streams come.

Spans that are there already count too: their sums go in as deltas, which the compactor adds up like any others. That
reads each span once.
"""

from django.db import migrations

TABLES = ("rollup_delta", "rollup_minute", "rollup_hour", "rollup_tenant_hour", "rollup_model_hour")
COLUMNS = (
    "retried_calls",
    "retried_attempts",
    "retried_errors",
    "cached_calls",
    "saved_nanousd",
    "streamed_output_tokens",
    "streaming_ms",
)
ADD = "".join(
    f"ALTER TABLE {table} " + ", ".join(f"ADD COLUMN {name} bigint NOT NULL DEFAULT 0" for name in COLUMNS) + ";"
    for table in TABLES
)
DROP = "".join(f"ALTER TABLE {table} " + ", ".join(f"DROP COLUMN {name}" for name in COLUMNS) + ";" for table in TABLES)

# Ids of 2020: before all that writers give.
FILL = """
INSERT INTO rollup_delta (
    tenant_id, delta_id, minute, service, environment, feature, key_id, provider_name, model, status, error_type,
    spans, calls, uncached_input_tokens, cache_read_input_tokens, cache_write_5m_input_tokens,
    cache_write_1h_input_tokens, output_tokens, reasoning_output_tokens, cost_nanousd, estimated_nanousd,
    estimated_calls, unpriced_calls, duration_buckets, duration_counts, ttft_buckets, ttft_counts,
    retried_calls, retried_attempts, retried_errors, cached_calls, saved_nanousd, streamed_output_tokens, streaming_ms)
SELECT tenant_id, (1577836800000 << 22) + row_number() OVER (), minute, service, environment, feature, key_id,
    provider_name, model, status, error_type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '{}', '{}', '{}', '{}',
    count(*) FILTER (WHERE retried),
    coalesce(sum((attributes->>'llmobs.attempts')::bigint) FILTER (WHERE retried), 0),
    coalesce(sum((attributes->>'llmobs.failed_attempts')::bigint) FILTER (WHERE retried), 0),
    count(*) FILTER (WHERE cached),
    coalesce(sum((attributes->>'llmobs.saved_nanousd')::bigint) FILTER (WHERE cached), 0),
    coalesce(sum(output_tokens) FILTER (WHERE streamed), 0),
    coalesce(sum((duration_ns - ttft_ns) / 1000000) FILTER (WHERE streamed), 0)
FROM (
    SELECT *, date_trunc('minute', start, 'UTC') AS minute,
        CASE WHEN source = 1 THEN coalesce(nullif(request_model, ''), response_model)
             ELSE coalesce(nullif(response_model, ''), request_model) END AS model,
        source = 1 AND NOT is_call AND coalesce(attributes->>'llmobs.attempts', '0') <> '0' AS retried,
        source = 1 AND is_counted AND attributes->>'llmobs.cache' IN ('hit-exact', 'hit-semantic') AS cached,
        is_counted AND is_stream AND NOT is_estimated AND input_tokens IS NOT NULL AND reasoning_output_tokens = 0
            AND status IN ('ok', 'degraded') AND duration_ns - ttft_ns >= 1000000 AS streamed
    FROM span
) spans
WHERE retried OR cached OR streamed
GROUP BY tenant_id, minute, service, environment, feature, key_id, provider_name, model, status, error_type
"""


class Migration(migrations.Migration):
    dependencies = [("rollups", "0001_tables"), ("spans", "0002_claim_lookups")]
    operations = [migrations.RunSQL(ADD, DROP), migrations.RunSQL(FILL, migrations.RunSQL.noop)]

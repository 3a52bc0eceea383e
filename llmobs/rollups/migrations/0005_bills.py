"""Bills by day, made by the worker (`rollups.bills`): until a day is made, its bills themselves are read."""

from django.db import migrations

DIMENSIONS = """
    service text NOT NULL, environment text NOT NULL, feature text NOT NULL, key_id bigint NOT NULL,
    provider_name text NOT NULL, model text NOT NULL, prompt_version text NOT NULL, tier text NOT NULL,
    kind text NOT NULL, price_version text NOT NULL,
"""
USER_DIMENSIONS = "user_id text NOT NULL, kind text NOT NULL, provider_name text NOT NULL, model text NOT NULL,"
MEASURES = """
    requests bigint NOT NULL, uncached_input_tokens bigint NOT NULL, cache_read_input_tokens bigint NOT NULL,
    cache_write_5m_input_tokens bigint NOT NULL, cache_write_1h_input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL, reasoning_output_tokens bigint NOT NULL, cost_nanousd bigint,
    held_nanousd bigint NOT NULL, first_at timestamptz NOT NULL, last_at timestamptz NOT NULL, units jsonb
"""
TABLES = f"""
CREATE TABLE bill_chunk (
    tenant_id bigint NOT NULL, since timestamptz NOT NULL, until timestamptz NOT NULL, zone text NOT NULL,
    PRIMARY KEY (tenant_id, since)
);
CREATE TABLE bill_late (tenant_id bigint NOT NULL, at timestamptz NOT NULL);
CREATE INDEX bill_late_by_time ON bill_late (tenant_id, at);
CREATE TABLE rollup_bill (tenant_id bigint NOT NULL, since timestamptz NOT NULL, {DIMENSIONS} {MEASURES});
CREATE INDEX rollup_bill_by_time ON rollup_bill (tenant_id, since);
CREATE TABLE rollup_bill_user (tenant_id bigint NOT NULL, since timestamptz NOT NULL, {USER_DIMENSIONS} {MEASURES});
CREATE INDEX rollup_bill_user_by_time ON rollup_bill_user (tenant_id, since);
CREATE INDEX rollup_bill_user_by_user ON rollup_bill_user (tenant_id, user_id, since);
COMMENT ON TABLE bill_chunk IS 'times whose bills are added up in rollup_bill and rollup_bill_user';
COMMENT ON TABLE bill_late IS 'quarters of an hour that bills came to later: chunks with one are not read';
COMMENT ON COLUMN rollup_bill_user.model IS 'of bills without a price, else empty; so is provider_name';
COMMENT ON COLUMN rollup_bill.cost_nanousd IS 'null: of bills without a price, which have rows of their own';
"""
DROP = "".join(f"DROP TABLE {name};" for name in ("bill_chunk", "bill_late", "rollup_bill", "rollup_bill_user"))


class Migration(migrations.Migration):
    dependencies = [("rollups", "0004_quarters"), ("spans", "0010_bill_by_trace")]
    operations = [migrations.RunSQL(TABLES, DROP)]

"""Durable spend per budget, value and window, and the thresholds passed: written by the writer alone."""

from django.db import migrations

TABLES = """
CREATE TABLE budget_spend (
    tenant_id bigint NOT NULL,
    budget_id bigint NOT NULL,
    revision integer NOT NULL,
    value text NOT NULL,
    window_start timestamptz NOT NULL,
    spent bigint NOT NULL,
    version bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, budget_id, revision, value, window_start)
);
COMMENT ON COLUMN budget_spend.spent IS 'in the budget''s unit: nano-USD or tokens; the sum of the bills in it';
COMMENT ON COLUMN budget_spend.version IS 'grows with each change; the ledger takes the newest only';
CREATE TABLE threshold_event (
    tenant_id bigint NOT NULL,
    budget_id bigint NOT NULL,
    revision integer NOT NULL,
    value text NOT NULL,
    window_start timestamptz NOT NULL,
    threshold integer NOT NULL,
    spent bigint NOT NULL,
    limit_amount bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    alerted_at timestamptz,
    PRIMARY KEY (tenant_id, budget_id, revision, value, window_start, threshold)
);
CREATE INDEX threshold_event_waiting ON threshold_event (at) WHERE alerted_at IS NULL;
COMMENT ON TABLE threshold_event IS 'outbox: committed with the spend that passed the threshold, once per window';
"""


class Migration(migrations.Migration):
    dependencies = [("budgets", "0002_config_version")]
    operations = [migrations.RunSQL(TABLES, "DROP TABLE budget_spend; DROP TABLE threshold_event")]

"""What was let go, from when on each kind is complete, and which archived days were brought back for how long."""

from django.db import migrations

TABLES = """
CREATE TABLE let_go (
    tenant_id bigint NOT NULL,
    kind text NOT NULL,
    day date NOT NULL,
    rows bigint NOT NULL,
    bytes bigint NOT NULL DEFAULT 0,
    is_archived boolean NOT NULL DEFAULT false,
    begun_at timestamptz NOT NULL DEFAULT now(),
    done_at timestamptz,
    PRIMARY KEY (tenant_id, kind, day)
);
CREATE INDEX let_go_undone ON let_go (kind, day) WHERE done_at IS NULL;
COMMENT ON TABLE let_go IS 'content, spans, bills: by the day they are of; other tables: by the day before which';
COMMENT ON COLUMN let_go.bytes IS 'of partitions dropped whole, shared out by rows; 0: deleted row by row';
CREATE TABLE kept_from (
    tenant_id bigint NOT NULL,
    kind text NOT NULL,
    day date NOT NULL,
    PRIMARY KEY (tenant_id, kind)
);
COMMENT ON TABLE kept_from IS 'what is older is gone or about to go; a longer retention does not bring it back';
CREATE TABLE restored_day (
    tenant_id bigint NOT NULL,
    day date NOT NULL,
    until date NOT NULL,
    PRIMARY KEY (tenant_id, day)
);
COMMENT ON TABLE restored_day IS 'brought back from the archive: retention leaves it alone until then';
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = [("spans", "0006_stated_costs"), ("tenants", "0009_keeping")]
    operations = [migrations.RunSQL(TABLES, "DROP TABLE let_go; DROP TABLE kept_from; DROP TABLE restored_day")]

"""Money that a re-pricing adds to traces waits beside them: a trace's row stands in seven indexes, this in one."""

from django.db import migrations

FORWARD = """
CREATE TABLE trace_delta (
    tenant_id bigint NOT NULL,
    trace_id bytea NOT NULL,
    day date NOT NULL,
    cost_nanousd bigint NOT NULL,
    gained integer NOT NULL
);
CREATE INDEX trace_delta_waiting ON trace_delta (tenant_id, day, trace_id);
"""

BACKWARD = """
UPDATE trace t SET cost_nanousd = t.cost_nanousd + d.nanousd, priced_count = t.priced_count + d.gained,
    unpriced_count = t.unpriced_count - d.gained
FROM (SELECT tenant_id, day, trace_id, sum(cost_nanousd)::bigint AS nanousd, sum(gained)::integer AS gained
    FROM trace_delta GROUP BY 1, 2, 3) d
WHERE t.tenant_id = d.tenant_id AND t.day = d.day AND t.trace_id = d.trace_id;
DROP TABLE trace_delta;
"""


class Migration(migrations.Migration):
    dependencies = [("spans", "0010_bill_by_trace")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

"""Bills are found by their trace: its spans come together and share an index entry, a sixth of one for each of them.

What looks for one span's adjustments alone, span by span, has an index of these: few bills are adjusted.
"""

from django.db import migrations

FORWARD = """
CREATE INDEX bill_by_trace ON bill (tenant_id, trace_id);
CREATE INDEX bill_adjustments ON bill (tenant_id, trace_id, span_id) WHERE kind = 'adjustment';
DROP INDEX bill_by_span;
"""

BACKWARD = """
CREATE INDEX bill_by_span ON bill (tenant_id, trace_id, span_id);
DROP INDEX bill_adjustments;
DROP INDEX bill_by_trace;
"""


class Migration(migrations.Migration):
    dependencies = [("spans", "0009_narrow_claims")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

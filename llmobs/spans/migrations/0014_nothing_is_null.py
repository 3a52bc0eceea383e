"""Classes of tokens that a span has none of are null, and so is what was not held; price versions go with the details.

Rows of before have zeros: both are read as none. On the way back all rows have zeros, and their versions.
"""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from llmobs.spans.details import read_details

FORWARD = """
ALTER TABLE span ALTER COLUMN held_nanousd DROP NOT NULL;
COMMENT ON COLUMN span.cache_read_input_tokens IS 'null: none, where input_tokens is known; so of the other classes';
COMMENT ON COLUMN span.cache_creation_input_tokens IS
    'all cache writes, of which cache_creation_1h_input_tokens; null: none, where input_tokens is known';
COMMENT ON COLUMN span.held_nanousd IS 'null: nothing';
COMMENT ON COLUMN span.price_version IS 'empty where detail_id is: the block has it, and the bill';
"""

BACKWARD = """
UPDATE span SET held_nanousd = 0 WHERE held_nanousd IS NULL;
UPDATE span SET cache_read_input_tokens = COALESCE(cache_read_input_tokens, 0),
    cache_creation_input_tokens = COALESCE(cache_creation_input_tokens, 0),
    cache_creation_1h_input_tokens = COALESCE(cache_creation_1h_input_tokens, 0),
    reasoning_output_tokens = COALESCE(reasoning_output_tokens, 0) WHERE input_tokens IS NOT NULL;
ALTER TABLE span ALTER COLUMN held_nanousd SET NOT NULL;
"""

PUT_BACK = """
UPDATE span s SET price_version = k.version FROM unnest(%s::text[]) WITH ORDINALITY AS k (version, slot)
WHERE s.tenant_id = %s AND s.detail_id = %s AND s.detail_slot = k.slot - 1
    AND s.start >= %s::date::timestamp AT TIME ZONE 'UTC'
    AND s.start < (%s::date + 1)::timestamp AT TIME ZONE 'UTC'
"""


def put_back(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Each row's version, block by block."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT tenant_id, detail_id, day FROM detail_block ORDER BY day, tenant_id, detail_id")
        for tenant_id, detail_id, day in cursor.fetchall():
            key = [tenant_id, detail_id, day]
            cursor.execute("SELECT body FROM detail_block WHERE tenant_id = %s AND detail_id = %s AND day = %s", key)
            versions = [detail.price_version for detail in read_details(bytes(cursor.fetchone()[0]))]
            cursor.execute(PUT_BACK, [versions, tenant_id, detail_id, day, day])


class Migration(migrations.Migration):
    dependencies = [("spans", "0013_fewer_indexes")]
    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.RunPython(migrations.RunPython.noop, put_back),
    ]

"""Attributes of reported spans, with their scopes and finish reasons, in blocks beside the rows (`spans.details`).

Rows of before keep theirs: they are read as they are. On the way back every row gets its own again.
"""

import json
from typing import Any

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from llmobs.spans.details import read_details

BLOCKS = """
CREATE TABLE detail_block (
    tenant_id bigint NOT NULL,
    detail_id bigint NOT NULL,
    day date NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (tenant_id, detail_id, day)
) PARTITION BY RANGE (day);
ALTER TABLE detail_block ALTER COLUMN body SET STORAGE EXTERNAL;
COMMENT ON COLUMN detail_block.body IS 'zstd of msgpack: a list by slot of [attributes as JSON, scope, finish reasons]';
"""

ROWS = """
ALTER TABLE span ADD COLUMN detail_id bigint, ADD COLUMN detail_slot smallint,
    ALTER COLUMN attributes DROP NOT NULL, ALTER COLUMN finish_reasons DROP NOT NULL;
COMMENT ON COLUMN span.detail_id IS
    'detail_block that has attributes, scope_name and finish_reasons; null: they stand here, as they do of the gateway';
"""

ROWS_AS_THEY_WERE = """
ALTER TABLE span DROP COLUMN detail_id, DROP COLUMN detail_slot,
    ALTER COLUMN attributes SET NOT NULL, ALTER COLUMN finish_reasons SET NOT NULL;
"""

PUT_BACK = """
UPDATE span s SET attributes = k.attributes, scope_name = k.scope, detail_id = NULL, detail_slot = NULL,
    finish_reasons = ARRAY(SELECT jsonb_array_elements_text(k.reasons))
FROM unnest(%s::jsonb[], %s::text[], %s::jsonb[]) WITH ORDINALITY AS k (attributes, scope, reasons, slot)
WHERE s.tenant_id = %s AND s.detail_id = %s AND s.detail_slot = k.slot - 1
    AND s.start >= %s::date::timestamp AT TIME ZONE 'UTC'
    AND s.start < (%s::date + 1)::timestamp AT TIME ZONE 'UTC'
"""


def put_back(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Each row's own, block by block; a row whose block is gone has none."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT tenant_id, detail_id, day FROM detail_block ORDER BY day, tenant_id, detail_id")
        for tenant_id, detail_id, day in cursor.fetchall():
            key = [tenant_id, detail_id, day]
            cursor.execute("SELECT body FROM detail_block WHERE tenant_id = %s AND detail_id = %s AND day = %s", key)
            details = read_details(bytes(cursor.fetchone()[0]))
            columns: list[list[Any]] = [
                [detail.attributes.decode() for detail in details],
                [detail.scope_name for detail in details],
                [json.dumps(detail.finish_reasons) for detail in details],
            ]
            cursor.execute(PUT_BACK, [*columns, tenant_id, detail_id, day, day])
        cursor.execute("UPDATE span SET attributes = '{}' WHERE attributes IS NULL")
        cursor.execute("UPDATE span SET finish_reasons = '{}' WHERE finish_reasons IS NULL")


class Migration(migrations.Migration):
    dependencies = [("spans", "0011_trace_delta")]
    operations = [
        migrations.RunSQL(BLOCKS, "DROP TABLE detail_block"),
        migrations.RunSQL(ROWS, ROWS_AS_THEY_WERE),
        migrations.RunPython(migrations.RunPython.noop, put_back),
    ]

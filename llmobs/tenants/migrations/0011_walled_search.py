"""`spans_found` works as the owner, past the policies: whoever is bound by these gets what is of the tenants it said.

Whether the caller is bound is asked as PostgreSQL asks it: who has the owner's rights is not.
"""

import re

from django.db import migrations

from llmobs.tenants.walls import FUNCTIONS

WITHIN = """BEGIN
    IF NOT sees_all() AND NOT pg_has_role(
            COALESCE(NULLIF(current_setting('role'), 'none'), session_user::text)::name, current_user, 'USAGE') THEN
        whose := ARRAY(SELECT unnest(whose) INTERSECT SELECT unnest(seen_tenants()));
    END IF;
"""


def _body(schema_editor, change):
    """The function as it is, with another beginning."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef('spans_found'::regproc)")
        before = cursor.fetchone()[0]
        cursor.execute(change(before))


def forwards(apps, schema_editor):
    _body(schema_editor, lambda sql: re.sub(r"^BEGIN\n", lambda _: WITHIN, sql, count=1, flags=re.MULTILINE))


def backwards(apps, schema_editor):
    _body(schema_editor, lambda sql: sql.replace(WITHIN, "BEGIN\n"))


class Migration(migrations.Migration):
    dependencies = [("tenants", "0010_raw_body_days"), ("spans", "0008_span_words")]
    operations = [
        migrations.RunSQL(FUNCTIONS, migrations.RunSQL.noop),  # by name alone: they stay as long as policies ask them
        migrations.RunPython(forwards, backwards),
    ]

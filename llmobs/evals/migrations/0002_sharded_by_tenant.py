"""Judgements and scores keep the rules of tables that grow with traffic: ids made by the application, keys that hold
the tenant, no foreign keys. Rows keep their ids.

A host that has yet to follow inserts without an id: the default makes one of the same shape. It is no sequence, so
nothing has to be counted in one place.
"""

import django.db.models.deletion
from django.db import migrations, models

from llmobs.core.ids import new_row_id

TABLES = ("evals_judgement", "evals_score")
# By the id first: single rows and the newest of all tenants are found by it as before.
KEY = "ALTER TABLE {table} DROP CONSTRAINT {table}_pkey, ADD PRIMARY KEY ({columns})"
DEFAULT = """
ALTER TABLE {table} ALTER COLUMN id SET DEFAULT
    (floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint << 22) | floor(random() * 4194304)::bigint
"""
# On the way back, once the ids are counted again: from the highest.
COUNTED = "SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"


def _keys():
    for table in TABLES:
        yield migrations.RunSQL(KEY.format(table=table, columns="id, tenant_id"), KEY.format(table=table, columns="id"))
        yield migrations.RunSQL(DEFAULT.format(table=table), f"ALTER TABLE {table} ALTER COLUMN id DROP DEFAULT")


def _judge(**options):
    return models.ForeignKey(
        db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, to="evals.judge", **options
    )


def _fields():
    for model in ("judgement", "score"):
        tenant = models.ForeignKey(
            db_constraint=False, on_delete=django.db.models.deletion.CASCADE, to="tenants.tenant"
        )
        yield migrations.AlterField(model, "tenant", tenant)
        made = models.BigIntegerField(default=new_row_id, editable=False, primary_key=True, serialize=False)
        yield migrations.AlterField(model, "id", made)
    yield migrations.AlterField("judgement", "judge", _judge())
    yield migrations.AlterField("score", "judge", _judge(blank=True, null=True))


class Migration(migrations.Migration):
    dependencies = [("evals", "0001_initial")]
    operations = [
        *[migrations.RunSQL(migrations.RunSQL.noop, COUNTED.format(table=table)) for table in TABLES],
        *_fields(),
        *_keys(),
        migrations.RemoveConstraint("judgement", "judged_once"),
        migrations.AddConstraint(
            "judgement",
            models.UniqueConstraint(fields=("tenant", "judge", "trace_id", "span_id"), name="judged_once"),
        ),
        migrations.RemoveIndex("judgement", "evals_judge_state_5575b2_idx"),
        migrations.AddIndex(
            "judgement", models.Index(fields=["tenant", "state", "claimed_at"], name="evals_judge_tenant__2312bd_idx")
        ),
    ]

"""Dead letters say whose journal they come from, how large they are, and what became of replays."""

import django.db.models.deletion
from django.db import migrations, models

FORWARD = """
ALTER TABLE dead_letter
    ADD COLUMN owner text NOT NULL DEFAULT '',
    ADD COLUMN position bigint NOT NULL DEFAULT 0,
    ADD COLUMN tries smallint NOT NULL DEFAULT 0,
    ADD COLUMN tried_at timestamptz;
COMMENT ON COLUMN dead_letter.owner IS 'of the journal that it stood in';
COMMENT ON COLUMN dead_letter.tries IS 'replays that failed; the reason is the last one''s';
COMMENT ON COLUMN dead_letter.entry IS 'the sealed journal entry; empty once it was replayed';
"""
BACKWARD = "ALTER TABLE dead_letter DROP COLUMN owner, DROP COLUMN position, DROP COLUMN tries, DROP COLUMN tried_at"


class Migration(migrations.Migration):
    dependencies = [("keeping", "0001_tables"), ("ingest", "0001_tables"), ("tenants", "0009_keeping")]
    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                ("letter_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("kind", models.TextField()),
                ("reason", models.TextField()),
                ("owner", models.TextField()),
                ("position", models.BigIntegerField()),
                ("tries", models.PositiveSmallIntegerField()),
                ("at", models.DateTimeField(verbose_name="first seen")),
                ("tried_at", models.DateTimeField(null=True)),
                ("replayed_at", models.DateTimeField(null=True)),
                ("tenant", models.ForeignKey(
                    db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING,
                    to="tenants.tenant",
                )),
            ],
            options={"db_table": "dead_letter", "ordering": ("-at", "letter_id"), "managed": False},
        ),
    ]  # fmt: skip

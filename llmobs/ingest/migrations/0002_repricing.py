"""Re-pricings: what was asked and what came of it, and how far each has gone."""

import django.db.models.deletion
from django.db import migrations, models

CHUNK = """
CREATE TABLE repricing_chunk (
    repricing_id bigint NOT NULL REFERENCES repricing (id) ON DELETE CASCADE,
    tenant_id bigint NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    applied_at timestamptz,
    seen bigint NOT NULL DEFAULT 0,
    undone_at timestamptz,
    bills bigint NOT NULL DEFAULT 0,
    nanousd bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (repricing_id, tenant_id, since)
);
COMMENT ON TABLE repricing_chunk IS 'stretches of a re-pricing, each a transaction: what is not applied is still to do';
COMMENT ON COLUMN repricing_chunk.seen IS 'a row id of its last transaction: bills with higher ones came after it';
COMMENT ON COLUMN repricing_chunk.nanousd IS 'what its adjustments came to';
"""


class Migration(migrations.Migration):
    dependencies = [
        ("ingest", "0001_tables"),
        ("pricing", "0003_price_version"),
        ("tenants", "0001_initial"),
    ]
    operations = [
        migrations.CreateModel(
            name="Repricing",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("providers", models.JSONField(blank=True, default=list)),
                ("model_names", models.JSONField(blank=True, default=list)),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("price", models.JSONField(blank=True, null=True)),
                ("price_id", models.BigIntegerField(editable=False, null=True)),
                ("note", models.CharField(blank=True, max_length=200)),
                ("state", models.CharField(default="new", editable=False, max_length=10)),
                ("preview", models.JSONField(editable=False, null=True)),
                ("error", models.CharField(blank=True, editable=False, max_length=400)),
                ("created_by", models.CharField(blank=True, editable=False, max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("applied_at", models.DateTimeField(editable=False, null=True)),
                ("undone_at", models.DateTimeField(editable=False, null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        help_text="empty: all tenants",
                        on_delete=django.db.models.deletion.CASCADE,
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={"db_table": "repricing", "ordering": ("-id",), "verbose_name": "re-pricing"},
        ),
        migrations.RunSQL(CHUNK, "DROP TABLE repricing_chunk"),
    ]

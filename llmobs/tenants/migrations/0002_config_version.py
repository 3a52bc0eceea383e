"""One row whose number grows with every change of configuration, whoever makes it: gateways poll it."""

from django.db import migrations

from llmobs.tenants.config_version import bump_sql

VERSION = """
CREATE TABLE config_version (
    is_single boolean PRIMARY KEY DEFAULT true CHECK (is_single),
    version bigint NOT NULL
);
INSERT INTO config_version (version) VALUES (1);
CREATE FUNCTION bump_config_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE config_version SET version = version + 1;
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]
    operations = [
        migrations.RunSQL(VERSION, "DROP FUNCTION bump_config_version() CASCADE; DROP TABLE config_version"),
        migrations.RunSQL(*bump_sql("tenants_tenant")),
        migrations.RunSQL(*bump_sql("tenants_key")),
    ]

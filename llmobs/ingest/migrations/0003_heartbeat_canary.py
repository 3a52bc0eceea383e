"""Each gateway says whether its call under a budget of zero was refused."""

from django.db import migrations

FORWARD = """
ALTER TABLE heartbeat ADD COLUMN canary text NOT NULL DEFAULT '';
COMMENT ON COLUMN heartbeat.canary IS 'of a gateway: refused; empty: not known yet; else what happened instead';
"""


class Migration(migrations.Migration):
    dependencies = [("ingest", "0002_repricing")]
    operations = [migrations.RunSQL(FORWARD, "ALTER TABLE heartbeat DROP COLUMN canary")]

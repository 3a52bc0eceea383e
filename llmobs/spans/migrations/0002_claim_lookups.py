"""Indexes by which count-once finds related claims: response ids at a time, and claims that have no response id."""

from django.db import migrations

FORWARD = """
CREATE INDEX claim_by_response_at ON claim (tenant_id, response_id, start) WHERE response_id <> '';
DROP INDEX claim_by_response;
CREATE INDEX claim_without_response ON claim (tenant_id, start) WHERE response_id = '' AND NOT yields;
"""

BACKWARD = """
DROP INDEX claim_without_response;
CREATE INDEX claim_by_response ON claim (tenant_id, response_id) WHERE response_id <> '';
DROP INDEX claim_by_response_at;
"""


class Migration(migrations.Migration):
    dependencies = [("spans", "0001_tables")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

"""That somebody was told of an overrun is no change of configuration: the task that tells looks every few seconds.

Each look bumped the version, though it found nothing, and every gateway and writer read all of its configuration anew.
"""

from django.db import migrations

from llmobs.tenants.config_version import bump_sql

_BEFORE, _DROPPED = bump_sql("providers_overrun")
# What is held for goes by these columns alone (`providers.overruns`).
_AFTER = _BEFORE.replace(" UPDATE ", " UPDATE OF provider_id, model, tier ")


class Migration(migrations.Migration):
    dependencies = [("providers", "0007_service_tiers")]
    operations = [migrations.RunSQL(f"{_DROPPED}; {_AFTER}", f"{_DROPPED}; {_BEFORE}")]

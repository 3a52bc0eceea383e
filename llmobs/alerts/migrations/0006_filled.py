"""What was there before takes the new form: addresses sealed, webhooks with their signing secret, alerts with times."""

from typing import Any

from django.conf import settings
from django.db import migrations

from llmobs.alerts.addresses import is_web, shown
from llmobs.alerts.signing import new_secret
from llmobs.providers.credentials import SEALED, open_credential, seal


def fill(apps: Any, _: Any) -> None:
    keys = settings.SECRETS.encryption_keys
    for channel in apps.get_model("alerts", "Channel").objects.exclude(url__startswith=SEALED):
        channel.target = shown(channel.url)
        channel.signing_secret = seal(new_secret(), keys) if is_web(channel.url) else ""
        channel.url = seal(channel.url, keys)
        channel.save(update_fields=["target", "signing_secret", "url"])


def open_again(apps: Any, _: Any) -> None:
    keys = settings.SECRETS.encryption_keys
    for channel in apps.get_model("alerts", "Channel").objects.filter(url__startswith=SEALED):
        channel.url = open_credential(channel.url, keys)
        channel.save(update_fields=["url"])


ALERTS = """
UPDATE alerts_alert SET last_at = coalesce(last_at, at), told_at = coalesce(told_at, at),
    state = CASE WHEN state = 'seen' THEN 'acknowledged' ELSE state END
"""
SEEN = "UPDATE alerts_alert SET state = 'seen' WHERE state = 'acknowledged'"


class Migration(migrations.Migration):
    dependencies = [("alerts", "0005_rules")]

    operations = [migrations.RunPython(fill, open_again), migrations.RunSQL(ALERTS, SEEN)]

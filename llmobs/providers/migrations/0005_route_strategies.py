"""Routes choose among their candidates: strategies, canaries, tasks, last resorts."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0004_provider_operations")]
    operations = [
        migrations.AddField(
            model_name="candidate",
            name="canary_percent",
            field=models.FloatField(db_default=0.0, default=0.0, help_text="of users who get it first"),
        ),
        migrations.AddField(
            model_name="candidate",
            name="quality",
            field=models.FloatField(blank=True, help_text="0 to 1, as your evaluations found", null=True),
        ),
        migrations.AddField(
            model_name="candidate",
            name="weight",
            field=models.FloatField(db_default=1.0, default=1.0),
        ),
        migrations.AddField(
            model_name="route",
            name="cascade_scorer",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="a route that scores the answers; empty: built-in signs",
                max_length=200,
            ),
        ),
        migrations.AddField(
            model_name="route",
            name="cascade_threshold",
            field=models.FloatField(
                db_default=0.5, default=0.5, help_text="0 to 1: an answer scored below it goes on to the next candidate"
            ),
        ),
        migrations.AddField(
            model_name="route",
            name="confidential_only_local",
            field=models.BooleanField(
                db_default=False, default=False, help_text="confidential content goes to local providers alone"
            ),
        ),
        migrations.AddField(
            model_name="route",
            name="hedge_after_ms",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="ask the next candidate too when the first is silent for so long; 0: never",
            ),
        ),
        migrations.AddField(
            model_name="route",
            name="last_resort",
            field=models.JSONField(
                blank=True,
                db_default=models.Value([], models.JSONField()),
                default=list,
                help_text='when no candidate answered: ["stale_cache", "static"]',
            ),
        ),
        migrations.AddField(
            model_name="route",
            name="quality_floor",
            field=models.FloatField(
                db_default=0.0, default=0.0, help_text="0 to 1: candidates below it, or without a quality, are left out"
            ),
        ),
        migrations.AddField(
            model_name="route",
            name="salt",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="another one draws the canary's users anew",
                max_length=64,
            ),
        ),
        migrations.AddField(
            model_name="route",
            name="static_text",
            field=models.TextField(blank=True, db_default="", default="", max_length=10000),
        ),
        migrations.AddField(
            model_name="route",
            name="tasks",
            field=models.JSONField(
                blank=True,
                db_default=models.Value([], models.JSONField()),
                default=list,
                help_text='answers for these where the model is "auto": ["classification", …]',
            ),
        ),
        migrations.AlterField(
            model_name="route",
            name="strategy",
            field=models.CharField(
                choices=[
                    ("fallback", "fallback: the first, then the next"),
                    ("weighted", "weighted: by the candidates' weights"),
                    ("cheapest", "cheapest: at or above the quality floor"),
                    ("fastest", "fastest: by what was measured of late"),
                    ("cascade", "cascade: cheap first, the next if its answer is poor"),
                ],
                default="fallback",
                max_length=12,
            ),
        ),
    ]

"""Accounts at providers, their reports, and what each month came to."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("tenants", "0006_confidential_only_local"),
    ]

    operations = [
        migrations.CreateModel(
            name="Account",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.SlugField(max_length=100, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[("openai", "OpenAI"), ("anthropic", "Anthropic")],
                        help_text="whose reports these are",
                        max_length=12,
                    ),
                ),
                (
                    "providers",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text='our providers that draw on it: ["openai", "openai-eu"]; empty: the one of its name',
                    ),
                ),
                (
                    "credential",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="admin key: env:VARIABLE, file:/path, or sealed",
                        max_length=2000,
                    ),
                ),
                (
                    "base_url",
                    models.CharField(blank=True, default="", help_text="empty: the provider's own", max_length=500),
                ),
                (
                    "keys",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text='keys of the gateway, by the id that the provider gives them: {"key_abc": "openai"}',
                    ),
                ),
                (
                    "aliases",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text='models that it names otherwise: {"Claude Haiku 3.5": "claude-3-5-haiku"}',
                    ),
                ),
                ("is_enabled", models.BooleanField(default=True)),
                ("fetched_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("next_fetch_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("failures", models.PositiveSmallIntegerField(default=0, editable=False)),
                ("fetch_error", models.CharField(blank=True, default="", editable=False, max_length=500)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        blank=True,
                        help_text="whose alone it is, and who may see it; empty: operators'",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="Month",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("first_day", models.DateField()),
                ("is_due", models.BooleanField(default=True)),
                ("computed_at", models.DateTimeField(null=True)),
                ("tenant_ids", models.JSONField(default=list, help_text="whose bills are in it")),
                ("compared_days", models.PositiveSmallIntegerField(default=0)),
                ("missing", models.JSONField(default=dict, help_text="days by what is missing: cost, usage")),
                ("theirs_nanousd", models.DecimalField(decimal_places=9, default=0, max_digits=40)),
                ("ours_nanousd", models.BigIntegerField(default=0)),
                ("residual_nanousd", models.DecimalField(decimal_places=9, default=0, max_digits=40)),
                ("calls", models.BigIntegerField(default=0)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="months", to="reconcile.account"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Cell",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("model", models.CharField(max_length=200)),
                ("tier", models.CharField(max_length=20)),
                ("token_class", models.CharField(max_length=40)),
                ("their_quantity", models.BigIntegerField(null=True)),
                ("our_quantity", models.BigIntegerField()),
                ("theirs_nanousd", models.DecimalField(decimal_places=9, max_digits=40)),
                ("ours_nanousd", models.DecimalField(decimal_places=9, max_digits=40)),
                (
                    "month",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="cells", to="reconcile.month"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Part",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("model", models.CharField(max_length=200)),
                ("tier", models.CharField(max_length=20)),
                ("token_class", models.CharField(max_length=40)),
                ("name", models.CharField(max_length=20)),
                ("amount_nanousd", models.DecimalField(decimal_places=9, max_digits=40)),
                ("quantity", models.BigIntegerField(default=0)),
                ("calls", models.BigIntegerField(default=0)),
                ("detail", models.JSONField(default=dict)),
                (
                    "month",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="parts", to="reconcile.month"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Report",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(choices=[("usage", "usage"), ("cost", "cost")], max_length=5)),
                ("form", models.CharField(max_length=40)),
                ("source", models.CharField(help_text="fetched, or the name of the file", max_length=200)),
                ("actor", models.CharField(max_length=200)),
                ("first_day", models.DateField()),
                ("last_day", models.DateField()),
                ("row_count", models.PositiveIntegerField()),
                (
                    "amount_step",
                    models.DecimalField(
                        decimal_places=9, help_text="nano-USD: how finely its amounts are written", max_digits=30
                    ),
                ),
                ("sha256", models.CharField(max_length=64)),
                ("raw", models.BinaryField(help_text="zstd of what came")),
                ("fetched_at", models.DateTimeField()),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="reports", to="reconcile.account"
                    ),
                ),
            ],
            options={
                "ordering": ("-pk",),
            },
        ),
        migrations.CreateModel(
            name="ReportDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(choices=[("usage", "usage"), ("cost", "cost")], max_length=5)),
                ("day", models.DateField()),
                ("is_current", models.BooleanField(default=True)),
                ("account", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="reconcile.account")),
                (
                    "report",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="days", to="reconcile.report"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ReportRow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(help_text="UTC, as providers bill")),
                ("model", models.CharField(max_length=200)),
                (
                    "key",
                    models.CharField(help_text="the provider's id or name of the key; empty: not told", max_length=200),
                ),
                ("workspace", models.CharField(help_text="or project", max_length=200)),
                ("tier", models.CharField(max_length=20)),
                ("token_class", models.CharField(max_length=40)),
                ("quantity", models.BigIntegerField(null=True)),
                ("amount_nanousd", models.DecimalField(decimal_places=9, max_digits=40, null=True)),
                ("line_item", models.CharField(max_length=300)),
                (
                    "report",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="rows", to="reconcile.report"
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="month",
            constraint=models.UniqueConstraint(fields=("account", "first_day"), name="month_once"),
        ),
        migrations.AddIndex(
            model_name="cell",
            index=models.Index(fields=["month", "day"], name="reconcile_cell_by_day"),
        ),
        migrations.AddIndex(
            model_name="part",
            index=models.Index(fields=["month", "name", "day"], name="reconcile_part_by_name"),
        ),
        migrations.AddConstraint(
            model_name="report",
            constraint=models.UniqueConstraint(fields=("account", "sha256"), name="report_once"),
        ),
        migrations.AddConstraint(
            model_name="reportday",
            constraint=models.UniqueConstraint(fields=("report", "day"), name="report_tells_a_day_once"),
        ),
        migrations.AddConstraint(
            model_name="reportday",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_current", True)),
                fields=("account", "kind", "day"),
                name="one_current_report_of_a_day",
            ),
        ),
        migrations.AddIndex(
            model_name="reportrow",
            index=models.Index(fields=["report", "day"], name="report_row_by_day"),
        ),
    ]

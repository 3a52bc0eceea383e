"""What bounds a key's calls where nothing else does: an amount for models without a price, a ceiling of answers."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0007_brake")]
    operations = [
        migrations.AddField(
            "key",
            "unpriced_nanousd",
            models.BigIntegerField(
                blank=True, help_text="nano-USD that a call of a model without a price holds", null=True
            ),
        ),
        migrations.AddField(
            "key",
            "most_output_tokens",
            models.PositiveIntegerField(
                blank=True,
                help_text="ceiling of answers to requests that set none; empty: the model's own",
                null=True,
            ),
        ),
        migrations.AlterField(
            "key",
            "unpriced",
            models.CharField(
                choices=[
                    ("refuse", "refuse when a hard budget applies"),
                    ("ceiling", "hold what unpriced_nanousd says"),
                    ("allow", "allow and flag"),
                ],
                default="refuse",
                max_length=8,
            ),
        ),
    ]

"""What a tenant's guards do with what they find, in requests and in answers."""

from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import migrations, models

INJECTION = [
    ("off", "off: not looked for"),
    ("log", "log: recorded after the call"),
    ("flag", "flag: told to the caller"),
    ("block", "block: the call is refused"),
]
SENSITIVE = [
    ("off", "off: not looked for"),
    ("log", "log: recorded after the call"),
    ("flag", "flag: told to the caller"),
    ("mask", "mask: placeholders in its place"),
    ("block", "block: the call is refused"),
]


class Migration(migrations.Migration):
    dependencies = [("tenants", "0004_cache")]
    operations = [
        migrations.AddField(
            "tenant",
            "injection",
            models.CharField(
                max_length=8,
                choices=INJECTION,
                default="log",
                db_default="log",
                help_text="prompt injection in what users and tools say",
            ),
        ),
        migrations.AddField(
            "tenant",
            "injection_threshold",
            models.DecimalField(
                max_digits=4,
                decimal_places=3,
                default=Decimal("0.7"),
                db_default=Decimal("0.7"),
                validators=[MinValueValidator(Decimal("0.001")), MaxValueValidator(1)],
                help_text="score from which on a text is taken for an injection; above 0, up to 1",
            ),
        ),
        migrations.AddField(
            "tenant",
            "sensitive_input",
            models.CharField(
                max_length=8,
                choices=SENSITIVE,
                default="log",
                db_default="log",
                help_text="personal data and secrets in requests",
            ),
        ),
        migrations.AddField(
            "tenant",
            "sensitive_output",
            models.CharField(
                max_length=8,
                choices=SENSITIVE,
                default="log",
                db_default="log",
                help_text="personal data and secrets in answers",
            ),
        ),
        migrations.AddField(
            "tenant",
            "most_input_characters",
            models.PositiveIntegerField(
                null=True,
                blank=True,
                help_text="longest message of a user, in characters; empty: as long as the model takes",
            ),
        ),
    ]

"""Accounts at providers, the reports that were had of them, and what each month came to."""

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import models

from llmobs.tenants.models import Tenant


class Account(models.Model):
    """An organisation at a provider, which gets one bill for what all its keys did."""

    class Kind(models.TextChoices):
        OPENAI = "openai", "OpenAI"
        ANTHROPIC = "anthropic", "Anthropic"

    name = models.SlugField(max_length=100, unique=True)
    kind = models.CharField(max_length=12, choices=Kind.choices, help_text="whose reports these are")
    providers = models.JSONField(
        default=list, blank=True,
        help_text='our providers that draw on it: ["openai", "openai-eu"]; empty: the one of its name',
    )  # fmt: skip
    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, null=True, blank=True,
        help_text="whose alone it is, and who may see it; empty: operators'",
    )  # fmt: skip
    credential = models.CharField(
        max_length=2000, blank=True, default="", help_text="admin key: env:VARIABLE, file:/path, or sealed"
    )
    base_url = models.CharField(max_length=500, blank=True, default="", help_text="empty: the provider's own")
    keys = models.JSONField(
        default=dict, blank=True,
        help_text='keys of the gateway, by the id that the provider gives them: {"key_abc": "openai"}',
    )  # fmt: skip
    aliases = models.JSONField(
        default=dict, blank=True,
        help_text='models that it names otherwise: {"Claude Haiku 3.5": "claude-3-5-haiku"}',
    )  # fmt: skip
    is_enabled = models.BooleanField(default=True)
    fetched_at = models.DateTimeField(null=True, blank=True, editable=False)
    next_fetch_at = models.DateTimeField(null=True, blank=True, editable=False)
    failures = models.PositiveSmallIntegerField(default=0, editable=False)
    fetch_error = models.CharField(max_length=500, blank=True, default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        self.providers, self.keys, self.aliases = self.providers or [], self.keys or {}, self.aliases or {}
        errors = {
            "base_url": "" if not self.base_url or _is_web(self.base_url) else "https://…, without a query.",
            "providers": "" if _texts(self.providers, list) else 'A list of names: ["openai"].',
            "keys": "" if _texts(self.keys, dict) else 'Names by id: {"key_abc": "openai"}.',
            "aliases": "" if _texts(self.aliases, dict) else 'Our names by theirs: {"Claude Haiku": "claude-haiku"}.',
        }
        if found := {name: error for name, error in errors.items() if error}:
            raise ValidationError(found)


class Report(models.Model):
    """One report as it came. It is never changed; a newer one of the same days takes its place (`ReportDay`)."""

    class Kind(models.TextChoices):
        USAGE = "usage", "usage"
        COST = "cost", "cost"

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="reports")
    kind = models.CharField(max_length=5, choices=Kind.choices)
    form = models.CharField(max_length=40)
    source = models.CharField(max_length=200, help_text="fetched, or the name of the file")
    actor = models.CharField(max_length=200)
    first_day = models.DateField()
    last_day = models.DateField()
    row_count = models.PositiveIntegerField()
    amount_step = models.DecimalField(
        max_digits=30, decimal_places=9, help_text="nano-USD: how finely its amounts are written"
    )
    sha256 = models.CharField(max_length=64)
    raw = models.BinaryField(help_text="zstd of what came")
    fetched_at = models.DateTimeField()

    class Meta:
        ordering = ("-pk",)
        constraints = [models.UniqueConstraint(fields=("account", "sha256"), name="report_once")]

    def __str__(self) -> str:
        return f"{self.account}, {self.kind} of {self.first_day} to {self.last_day}"


class ReportDay(models.Model):
    """A day that a report tells of; of each kind one report is the current one."""

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="days")
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    kind = models.CharField(max_length=5, choices=Report.Kind.choices)
    day = models.DateField()
    is_current = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=("report", "day"), name="report_tells_a_day_once"),
            models.UniqueConstraint(
                fields=("account", "kind", "day"),
                condition=models.Q(is_current=True),
                name="one_current_report_of_a_day",
            ),
        ]


class ReportRow(models.Model):
    """One line of a report, in our words: a quantity of usage, or an amount (and a quantity where it says one)."""

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="rows")
    day = models.DateField(help_text="UTC, as providers bill")
    model = models.CharField(max_length=200)
    key = models.CharField(max_length=200, help_text="the provider's id or name of the key; empty: not told")
    workspace = models.CharField(max_length=200, help_text="or project")
    tier = models.CharField(max_length=20)
    token_class = models.CharField(max_length=40)
    quantity = models.BigIntegerField(null=True)
    amount_nanousd = models.DecimalField(max_digits=40, decimal_places=9, null=True)
    line_item = models.CharField(max_length=300)

    class Meta:
        indexes = [models.Index(fields=("report", "day"), name="report_row_by_day")]


class Month(models.Model):
    """What a month of an account came to when it was last reconciled, and whether that is to be done again."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="months")
    first_day = models.DateField()
    is_due = models.BooleanField(default=True)
    computed_at = models.DateTimeField(null=True)
    tenant_ids = models.JSONField(default=list, help_text="whose bills are in it")
    compared_days = models.PositiveSmallIntegerField(default=0)
    missing = models.JSONField(default=dict, help_text="days by what is missing: cost, usage")
    theirs_nanousd = models.DecimalField(max_digits=40, decimal_places=9, default=0)
    ours_nanousd = models.BigIntegerField(default=0)
    residual_nanousd = models.DecimalField(max_digits=40, decimal_places=9, default=0)
    calls = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=("account", "first_day"), name="month_once")]


class Cell(models.Model):
    """A day × model × class of a month, both sides."""

    month = models.ForeignKey(Month, on_delete=models.CASCADE, related_name="cells")
    day = models.DateField()
    model = models.CharField(max_length=200)
    tier = models.CharField(max_length=20)
    token_class = models.CharField(max_length=40)
    their_quantity = models.BigIntegerField(null=True)
    our_quantity = models.BigIntegerField()
    theirs_nanousd = models.DecimalField(max_digits=40, decimal_places=9)
    ours_nanousd = models.DecimalField(max_digits=40, decimal_places=9)

    class Meta:
        indexes = [models.Index(fields=("month", "day"), name="reconcile_cell_by_day")]


class Part(models.Model):
    """A named part of a cell's difference (theirs − ours). All parts of a month add up to its difference."""

    month = models.ForeignKey(Month, on_delete=models.CASCADE, related_name="parts")
    day = models.DateField()
    model = models.CharField(max_length=200)
    tier = models.CharField(max_length=20)
    token_class = models.CharField(max_length=40)
    name = models.CharField(max_length=20)
    amount_nanousd = models.DecimalField(max_digits=40, decimal_places=9)
    quantity = models.BigIntegerField(default=0)
    calls = models.BigIntegerField(default=0)
    detail = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=("month", "name", "day"), name="reconcile_part_by_name")]


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        plain = not (parts.query or parts.fragment or parts.username or parts.password)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and plain
    except ValueError:  # a port that is none
        return False


def _texts(given: object, kind: type) -> bool:
    if not isinstance(given, kind):
        return False
    texts = [*given, *given.values()] if isinstance(given, dict) else list(given)  # type: ignore[call-overload]
    return all(isinstance(text, str) and text for text in texts)

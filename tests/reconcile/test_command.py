"""`manage.py reconcile` on the planted month: files in, names and amounts out."""

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.reconcile.planted import GATEWAY_KEYS, commit_planted, plant
from tests.tenants.cast import make_cast


@pytest.fixture
def files(tmp_path: Path, pg: Any) -> list[str]:
    cast = make_cast()
    made = plant(tenant_ids=(cast.acme.pk,))
    commit_planted(pg, made)
    reports = made.reports("csv")
    names = []
    for what in ("usage", "cost"):
        file = tmp_path / f"{what}.csv"
        file.write_text(reports["openai", what])
        names.append(str(file))
    return names


def test_files_are_taken_in_and_each_difference_told(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    call_command("reconcile", "import", *files, "--provider", "openai")
    said = capsys.readouterr().out
    assert "OpenAI usage, CSV, 2026-10-01 to 2026-10-31" in said
    assert "openai, 2026-10: 31 days compared" in said
    assert "  outside: 0.900" in said
    assert "  residual: 0.00" in said
    call_command("reconcile", "import", *files, "--provider", "openai")
    assert capsys.readouterr().out.count("had already, nothing changed") == 2


def test_a_month_is_compared_again(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from llmobs.reconcile.models import Account

    call_command("reconcile", "import", *files, "--provider", "openai")
    Account.objects.update(keys={GATEWAY_KEYS["openai"]: "openai"})
    capsys.readouterr()
    call_command("reconcile", "run", "--month", "2026-10")
    assert "  outside: 0.900" in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("reconcile", "import", str(tmp_path / "none.csv"), "--provider", "openai")
    with pytest.raises(CommandError, match="no month, such as"):
        call_command("reconcile", "run", "--month", "November")
    with pytest.raises(CommandError, match="No account has an admin key"):
        call_command("reconcile", "fetch")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CommandError, match="no report that is known"):
        call_command("reconcile", "import", str(tmp_path / "x.csv"), "--provider", "openai")

"""Signed snapshots: nothing without the right signature, nothing unasked, and each call by the snapshot of its time."""

import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from llmobs.core.clock import ns_from_utc
from llmobs.pricing import book, snapshots
from llmobs.pricing.models import PriceSnapshot
from llmobs.pricing.snapshots import SnapshotError, check_signature, public_key_of
from llmobs.tenants.models import AuditEntry
from llmobs.tenants.plain_connection import plain_connection

JULY, AUGUST = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)


def providers(usd: float) -> list[dict[str, Any]]:
    model = {
        "id": "gpt-4o-mini",
        "match": {"starts_with": "gpt-4o-mini"},
        "prices": {"input_mtok": usd, "output_mtok": usd * 4, "web_searches_kcount": 10},
    }
    return [{"id": "openai", "name": "OpenAI", "api_pattern": "https://api\\.openai\\.com", "models": [model]}]


@pytest.fixture
def publisher(tmp_path: Path, settings: Any) -> Path:
    """A folder with a key that the settings trust, and two snapshots: 1 USD from July on, 2 from August."""
    told = StringIO()
    call_command("prices", "newkey", str(tmp_path / "key.pem"), stdout=told)
    settings.PRICES_KEY = told.getvalue().strip().removeprefix("LLMOBS_PRICES_KEY=")
    for name, since, usd in (("july", JULY, 1.0), ("august", AUGUST, 2.0)):
        (tmp_path / "data.json").write_text(json.dumps(providers(usd)))
        call_command(
            "prices", "sign", str(tmp_path / "data.json"), "--key", str(tmp_path / "key.pem"), "--name", name,
            "--from", since.isoformat(), "--out", str(tmp_path / name), stdout=StringIO(),
        )  # fmt: skip
    return tmp_path


def update(file: Path, *options: str) -> str:
    told = StringIO()
    call_command("prices", "update", str(file), *options, stdout=told)
    return told.getvalue()


@pytest.mark.django_db
def test_it_shows_first_and_takes_over_only_when_told_to(publisher: Path) -> None:
    assert "nothing has changed; --apply takes it over" in update(publisher / "july")
    assert not PriceSnapshot.objects.exists()

    assert "prices july hold from 2026-07-01" in update(publisher / "july", "--apply")

    assert AuditEntry.objects.get(action="update prices").name == "july from 2026-07-01"
    assert "it is taken over already" in update(publisher / "july", "--apply")


@pytest.mark.django_db
def test_each_call_is_priced_by_the_snapshot_of_its_time(publisher: Path) -> None:
    update(publisher / "august", "--apply")
    update(publisher / "july", "--apply")
    prices = book.load(plain_connection())

    def rate(at: datetime) -> tuple[int, str]:
        price = prices.price(1, "openai", "gpt-4o-mini", ns_from_utc(at))
        assert price is not None
        return price.rates.uncached_input, price.version.split(" #")[0]

    assert rate(datetime(2026, 6, 30, 23, tzinfo=UTC))[1].startswith("genai-prices")
    assert rate(JULY) == (1_000_000_000, "signed july")
    assert rate(datetime(2026, 7, 31, 23, 59, tzinfo=UTC)) == (1_000_000_000, "signed july")
    assert rate(AUGUST) == (2_000_000_000, "signed august")
    assert prices.price(1, "anthropic", "claude-sonnet-4-5", ns_from_utc(AUGUST)) is None


@pytest.mark.django_db
def test_a_changed_byte_is_refused_and_nothing_is_stored(publisher: Path) -> None:
    file = publisher / "july"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(CommandError, match="the signature is not of this file by the configured key"):
        update(file, "--apply")
    assert not PriceSnapshot.objects.exists()


@given(st.data())
def test_no_other_bytes_pass_the_signature(data: st.DataObject) -> None:
    content = b'{"name": "n", "effective_from": "2026-07-01T00:00:00Z", "providers": []}'
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    signature = snapshots.sign(content, key)
    check_signature(content, signature, key.public_key())
    at, flip = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(1, 255))
    changed = content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :]
    with pytest.raises(SnapshotError):
        check_signature(changed, signature, key.public_key())


@pytest.mark.django_db
def test_anothers_signature_is_refused(publisher: Path, settings: Any) -> None:
    told = StringIO()
    call_command("prices", "newkey", str(publisher / "other.pem"), stdout=told)
    settings.PRICES_KEY = told.getvalue().strip().split("=", 1)[1]
    with pytest.raises(CommandError, match="nothing has changed: the signature"):
        update(publisher / "july", "--apply")


@pytest.mark.django_db
def test_without_a_key_nothing_is_taken_over(publisher: Path, settings: Any) -> None:
    settings.PRICES_KEY = ""
    with pytest.raises(CommandError, match="LLMOBS_PRICES_KEY is not set"):
        update(publisher / "july", "--apply")


@pytest.mark.django_db
def test_a_name_is_never_used_twice(publisher: Path) -> None:
    update(publisher / "july", "--apply")
    (publisher / "data.json").write_text(json.dumps(providers(3.0)))
    call_command(
        "prices", "sign", str(publisher / "data.json"), "--key", str(publisher / "key.pem"), "--name", "july",
        "--from", AUGUST.isoformat(), "--out", str(publisher / "again"), stdout=StringIO(),
    )  # fmt: skip
    with pytest.raises(CommandError, match="none is ever replaced"):
        update(publisher / "again", "--apply")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[]", "the file is no snapshot"),
        (b'{"name": "n", "effective_from": "2026-07-01T00:00:00", "providers": [1]}', "the file is no snapshot"),
        (b'{"name": "n", "effective_from": "2026-07-01T00:00:00Z", "providers": []}', "at least one provider"),
    ],
)
def test_a_file_that_is_none_is_told(content: bytes, told: str) -> None:
    with pytest.raises(SnapshotError, match=told):
        snapshots.read_snapshot(content)


def test_a_key_that_is_none_is_told() -> None:
    with pytest.raises(SnapshotError, match="32 bytes in base64"):
        public_key_of("abc")

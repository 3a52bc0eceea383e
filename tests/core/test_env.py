"""The data folder, its secrets and addresses, and what the environment may say."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmobs.core.env import (
    Connections,
    EnvError,
    Place,
    data_dir,
    read_bool,
    read_int,
    read_list,
    read_str,
    replace_file,
    valkey_url_from_env,
    with_db,
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in ("DATABASE_URL", "VALKEY_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    return Place(tmp_path / "data")


def test_secrets_are_made_once_for_the_owner_alone(place: Place) -> None:
    first = place.secrets()
    assert place.secrets() == first
    assert len(first.journal_key) == 32
    assert stat.S_IMODE(place.secrets_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700


def test_all_who_ask_at_once_get_the_same_secrets(place: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: place.secrets().secret_key, range(32)))
    assert len(set(found)) == 1


def test_the_environment_wins_over_kept_secrets(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = place.secrets()
    monkeypatch.setenv("LLMOBS_SECRET_KEY", "from outside")
    monkeypatch.setenv("LLMOBS_ENCRYPTION_KEYS", f"{'A' * 43}=, {kept.encryption_keys[0]}")
    assert place.secrets().secret_key == "from outside"
    assert place.secrets().encryption_keys == ("A" * 43 + "=", kept.encryption_keys[0])


@pytest.mark.parametrize("name", ["LLMOBS_ENCRYPTION_KEYS", "LLMOBS_JOURNAL_KEY"])
def test_a_key_that_is_none_is_refused_without_being_shown(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "swordfish")
    with pytest.raises(EnvError, match=name) as refused:
        place.secrets()
    assert "swordfish" not in str(refused.value)


def test_secrets_do_not_show_in_a_representation(place: Place) -> None:
    secrets = place.secrets()
    assert secrets.postgres_password not in repr(secrets)
    assert "hidden" not in repr(Connections("postgresql://u:hidden@/x", "redis://:hidden@h"))


def test_a_broken_secrets_file_is_an_error_and_is_not_replaced(place: Place) -> None:
    place.make()
    place.secrets_file.write_text("{")
    with pytest.raises(EnvError, match=r"secrets\.json"):
        place.secrets()
    assert place.secrets_file.read_text() == "{"


def test_without_a_platform_there_are_no_addresses(place: Place) -> None:
    with pytest.raises(EnvError, match=r"manage\.py up"):
        place.connections()


def test_kept_addresses_are_found_and_the_environment_wins(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.make()
    place.keep_connections(Connections("postgresql:///kept", "redis://kept/0", gateway_port=4400, web_port=8800))
    assert place.connections() == Connections("postgresql:///kept", "redis://kept/0", 4400, 8800)
    monkeypatch.setenv("DATABASE_URL", "postgresql:///told")
    monkeypatch.delenv("WEB_DATABASE_URL", raising=False)
    monkeypatch.setenv("REDIS_URL", "redis://told/0")
    assert place.connections() == Connections("postgresql:///told", "redis://told/0", 4400, 8800)


def test_a_file_is_replaced_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    replace_file(path, b"{}")
    replace_file(path, json.dumps({"web": [1]}).encode())
    assert json.loads(path.read_bytes()) == {"web": [1]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:p%40ss@host:6379/0", "redis://:p%40ss@host:6379/2"),
        ("rediss://host", "rediss://host/2"),
        ("redis://host/0?socket_timeout=1", "redis://host/2?socket_timeout=1"),
        ("unix:///run/valkey.sock?db=0", "unix:///run/valkey.sock?db=2"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock?db=2"),
    ],
)
def test_another_database_of_the_same_valkey(url: str, expected: str) -> None:
    assert with_db(url, 2) == expected


def test_valkey_addresses_are_read_as_redis_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALKEY_URL", "valkey://host:1/0")
    assert valkey_url_from_env() == "redis://host:1/0"
    monkeypatch.setenv("VALKEY_URL", "valkeys://host:1/0")
    assert valkey_url_from_env() == "rediss://host:1/0"
    monkeypatch.setenv("VALKEY_URL", "http://host")
    with pytest.raises(EnvError, match="VALKEY_URL"):
        valkey_url_from_env()


def test_numbers_and_claims_are_read_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOBS_X", " 7 ")
    assert read_int("LLMOBS_X", 1) == 7
    assert read_str("LLMOBS_X") == "7"
    with pytest.raises(EnvError, match="between 10 and 20"):
        read_int("LLMOBS_X", 1, least=10, most=20)
    with pytest.raises(EnvError, match="neither yes nor no"):
        read_bool("LLMOBS_X", default=False)
    monkeypatch.setenv("LLMOBS_X", "seven")
    with pytest.raises(EnvError, match="whole number"):
        read_int("LLMOBS_X", 1)
    monkeypatch.setenv("LLMOBS_X", "Yes")
    assert read_bool("LLMOBS_X", default=False) is True
    monkeypatch.setenv("LLMOBS_X", "")
    assert read_bool("LLMOBS_X", default=True) is True
    monkeypatch.setenv("LLMOBS_X", "a, b,,")
    assert read_list("LLMOBS_X") == ("a", "b")


def test_the_data_folder_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LLMOBS_DATA", raising=False)
    assert data_dir() == tmp_path / "var"
    monkeypatch.setenv("LLMOBS_DATA", "elsewhere")
    assert data_dir() == tmp_path / "elsewhere"

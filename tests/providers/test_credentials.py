"""Credentials: referred to or sealed, never plain at rest, and never an empty one by mistake."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from llmobs.providers.credentials import CredentialError, open_credential, seal, store_form

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def test_what_was_sealed_opens_also_after_the_keys_were_rotated() -> None:
    sealed = seal("sk-secret", [OLD])
    assert "sk-secret" not in sealed
    assert open_credential(sealed, [NEW, OLD]) == "sk-secret"


def test_a_variable_and_a_file_are_read_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_CREDENTIAL", "from-env")
    (tmp_path / "secret").write_text("from-file\n")
    assert open_credential("env:SOME_CREDENTIAL", []) == "from-env"
    assert open_credential(f"file:{tmp_path}/secret", []) == "from-file"
    assert open_credential("", []) == ""


@pytest.mark.parametrize("stored", ["env:NOT_SET_ANYWHERE", "file:/no/such/file", "sk-plain", "sealed:nonsense"])
def test_what_cannot_be_opened_is_an_error_that_shows_no_secret(stored: str) -> None:
    with pytest.raises(CredentialError) as raised:
        open_credential(stored, [NEW])
    assert "sk-plain" not in str(raised.value)


def test_only_plain_text_is_sealed_for_storing() -> None:
    assert store_form("env:X", [NEW]) == "env:X"
    assert open_credential(store_form("sk-secret", [NEW]), [NEW]) == "sk-secret"

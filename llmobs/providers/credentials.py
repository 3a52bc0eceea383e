"""Credentials of providers: named by reference (`env:`, `file:`) or sealed at rest; opened in memory alone.

Fails closed: what cannot be opened is an error that names the reference, never the secret, and never an empty key.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

SEALED = "sealed:"
ENV = "env:"
FILE = "file:"
MOST_FILE_BYTES = 64 * 1024


class CredentialError(Exception):
    """A provider's credential cannot be had."""


def seal(secret: str, encryption_keys: Sequence[str]) -> str:
    """The form in which a credential given in plain text is stored; newest key first."""
    return SEALED + _fernet(encryption_keys).encrypt(secret.encode()).decode()


def store_form(given: str, encryption_keys: Sequence[str]) -> str:
    """What to store for what a person gave: references and sealed texts as they are, anything else sealed."""
    given = given.strip()
    return given if not given or given.startswith((SEALED, ENV, FILE)) else seal(given, encryption_keys)


def open_credential(stored: str, encryption_keys: Sequence[str]) -> str:
    """The secret to send, "" for a provider without one. Raises CredentialError."""
    if not stored:
        return ""
    if stored.startswith(ENV):
        return _from_env(stored.removeprefix(ENV))
    if stored.startswith(FILE):
        return _from_file(stored.removeprefix(FILE))
    if not stored.startswith(SEALED):
        raise CredentialError("a credential is neither env:NAME nor file:/path nor sealed: enter it anew")
    try:
        return _fernet(encryption_keys).decrypt(stored.removeprefix(SEALED).encode()).decode()
    except InvalidToken:
        raise CredentialError("a sealed credential opens with none of LLMOBS_ENCRYPTION_KEYS: enter it anew") from None


def variable(credential: str) -> str:
    """The variable that a credential is kept in; "" for any other."""
    return credential.strip().removeprefix(ENV) if credential.strip().startswith(ENV) else ""


def file_of(credential: str) -> str:
    """The file that a credential is kept in; "" for any other."""
    return credential.removeprefix(FILE) if credential.startswith(FILE) else ""


def _fernet(encryption_keys: Sequence[str]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in encryption_keys])


def _from_env(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise CredentialError(f"the variable {name} is not set")
    return value


def _from_file(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            value = file.read(MOST_FILE_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialError(f"the credential file {path} cannot be read: {type(error).__name__}") from None
    if not value:
        raise CredentialError(f"the credential file {path} is empty")
    return value

"""What goes out is encrypted and what is kept on the way is sealed: no text and no secret of a call lies in plain."""

import base64
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import redis
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from llmobs.core.env import Place
from llmobs.ingest.seal import NONCE_BYTES
from llmobs.providers.credentials import store_form
from tests.gateway.authority import Authority, TlsFarEnd, answering_tls
from tests.gateway.running import Gateway
from tests.gateway.test_rotation import ANSWER
from tests.gateway.world import World

ASKED, ANSWERED, CREDENTIAL = "the-parcel-of-bob", b'"content": "hi"', "sk-of-our-account-at-the-provider"
BODY: dict[str, Any] = {"model": "private/m", "messages": [{"role": "user", "content": ASKED}], "max_tokens": 5}
AES_256_KEY_BYTES = 32


@pytest.fixture
def called(gateway: Gateway, http: httpx.Client, world: World, tmp_path: Path) -> TlsFarEnd:
    """One call, cached, to a provider over TLS, by a credential that was given as text."""
    authority = Authority(tmp_path)
    sealed = store_form(CREDENTIAL, gateway.wiring.encryption_keys)
    with answering_tls(authority.server("localhost"), ANSWER) as far_end:
        world.provider("private", "openai", f"{far_end.url}/v1", ca_file=str(authority.certificate), credential=sealed)
        gateway.wait_for_config(world.version())
        answer = http.post("/v1/chat/completions", json=BODY, headers={"x-llmobs-cache": "exact"})
        assert (answer.status_code, answer.headers["x-llmobs-cache"]) == (200, "miss")
    return far_end


def test_the_provider_is_spoken_to_over_tls(called: TlsFarEnd) -> None:
    """S2-42: TLS in transit; the provider's certificate was checked, and it got text and credential as they are."""
    [request] = called.requests
    assert called.seen == [("localhost", "http/1.1")]
    assert ASKED.encode() in request
    assert CREDENTIAL.encode() in request


@pytest.mark.usefixtures("called")
def test_the_journal_is_sealed(gateway: Gateway) -> None:
    """S2-42: AES-256-GCM at rest: the journal holds the texts, and no file of it shows them."""
    files = [file.read_bytes() for file in gateway.wiring.journal.rglob("*") if file.is_file()]
    assert ASKED.encode() in gateway.end().request_body
    assert ANSWERED in gateway.end().response_body
    assert sum(map(len, files)) > len(ASKED)
    for plain in (ASKED.encode(), ANSWERED, CREDENTIAL.encode()):
        assert not any(plain in file for file in files)


@pytest.mark.usefixtures("called")
def test_the_snapshot_is_sealed_with_a_key_of_256_bits(gateway: Gateway, tenant: int) -> None:
    """S2-42: who may call, and how, is not to be read on the disk of a gateway."""
    kept, key = gateway.wiring.snapshot.read_bytes(), gateway.wiring.journal_key
    assert b"acme" not in kept
    opened = AESGCM(key).decrypt(kept[:NONCE_BYTES], kept[NONCE_BYTES:], None)
    assert b"acme" in opened
    assert CREDENTIAL.encode() not in opened  # sealed once more, by another key
    assert len(key) == AES_256_KEY_BYTES


def test_an_installations_own_keys_are_as_long(tmp_path: Path) -> None:
    """S2-42: 256 bits for the journal; Fernet's 256 for credentials, half of them to encrypt and half to sign."""
    secrets = Place(tmp_path).secrets()
    assert len(secrets.journal_key) == AES_256_KEY_BYTES
    assert [len(base64.urlsafe_b64decode(key)) for key in secrets.encryption_keys] == [32]


@pytest.mark.usefixtures("called")
def test_a_credential_is_sealed_in_the_table(gateway: Gateway, world: World) -> None:
    """S2-42: opened only by the keys of the installation (Fernet), and never stored as it is."""
    row = world.pg.execute("SELECT credential FROM providers_provider WHERE name = 'private'").fetchone()
    assert row is not None
    assert CREDENTIAL not in row[0]
    token = str(row[0]).removeprefix("sealed:")
    assert Fernet(gateway.wiring.encryption_keys[0]).decrypt(token).decode() == CREDENTIAL


@pytest.mark.usefixtures("called")
def test_a_cached_answer_is_sealed_in_valkey(valkey: redis.Redis) -> None:
    """S2-42: whoever reads the cache's memory reads no answer."""
    keys = list(valkey.scan_iter("llm:*"))
    assert keys
    for key in keys:
        entry = valkey.hgetall(key)
        assert not any(ANSWERED in value or ASKED.encode() in value for value in entry.values())

"""Providers over TLS: a private authority vouches for a local model; whom nobody vouches for is not called."""

from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.gateway.authority import Authority, answering_tls
from tests.gateway.running import Gateway
from tests.gateway.test_rotation import ANSWER
from tests.gateway.world import World

BODY: dict[str, Any] = {"model": "private/m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}


def ask(http: httpx.Client) -> httpx.Response:
    return http.post("/v1/chat/completions", json=BODY)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_provider_with_a_private_authority_is_called(
    gateway: Gateway, http: httpx.Client, world: World, authority: Authority
) -> None:
    """S1-11: a local model behind a certificate of one's own is a provider like any other."""
    with answering_tls(authority.server("localhost"), ANSWER) as far_end:
        world.provider("private", "openai", f"{far_end.url}/v1", ca_file=str(authority.certificate), is_local=True)
        gateway.wait_for_config(world.version())
        assert ask(http).status_code == 200
    assert far_end.seen == [("localhost", "http/1.1")]


@pytest.mark.parametrize("ca_file", ["", "another"])
def test_whom_nobody_vouches_for_is_not_called(
    gateway: Gateway, http: httpx.Client, world: World, authority: Authority, tmp_path: Path, ca_file: str
) -> None:
    trusted = str(Authority(tmp_path, ca_file).certificate) if ca_file else ""
    with answering_tls(authority.server("localhost"), ANSWER) as far_end:
        world.provider("private", "openai", f"{far_end.url}/v1", ca_file=trusted)
        gateway.wait_for_config(world.version())
        answer = ask(http)
    assert (answer.status_code, answer.headers["x-llmobs-reason"]) == (503, "provider_unavailable")
    assert "its certificate is not trusted" in answer.json()["error"]["message"]
    assert far_end.requests == []


def test_a_certificate_of_another_host_is_not_trusted(
    gateway: Gateway, http: httpx.Client, world: World, authority: Authority
) -> None:
    with answering_tls(authority.server("elsewhere.test"), ANSWER) as far_end:
        world.provider("private", "openai", f"{far_end.url}/v1", ca_file=str(authority.certificate))
        gateway.wait_for_config(world.version())
        answer = ask(http)
    assert answer.headers["x-llmobs-reason"] == "provider_unavailable"
    assert "its certificate is not trusted" in answer.json()["error"]["message"]
    assert far_end.requests == []


def test_without_verification_any_certificate_is_taken(
    gateway: Gateway, http: httpx.Client, world: World, authority: Authority
) -> None:
    with answering_tls(authority.server("elsewhere.test"), ANSWER) as far_end:
        world.provider("private", "openai", f"{far_end.url}/v1", verify=False)
        gateway.wait_for_config(world.version())
        assert ask(http).status_code == 200


def test_a_renewed_authority_is_trusted_without_a_restart(
    gateway: Gateway, http: httpx.Client, world: World, authority: Authority, tmp_path: Path
) -> None:
    """S0-47: certificates rotate like credentials."""
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(Authority(tmp_path, "old").certificate.read_bytes())
    with answering_tls(authority.server("localhost"), ANSWER) as far_end:
        world.provider("private", "openai", f"{far_end.url}/v1", ca_file=str(trusted))
        gateway.wait_for_config(world.version())
        assert ask(http).status_code == 503
        trusted.write_bytes(authority.certificate.read_bytes())
        gateway.wait_until(lambda: ask(http).status_code == 200, "the new authority is trusted")

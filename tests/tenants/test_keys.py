"""Secrets of keys and the short-lived tokens of our own worker."""

import pytest

from llmobs.tenants.keys import check_internal, mint_internal, new_secret, prefix_of, secret_hash

NOW_NS = 1_800_000_000 * 10**9
PLATFORM = "platform secret"


def test_secrets_are_long_and_never_alike() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(secret.startswith("llmobs-") and len(secret) == 50 for secret in secrets)


def test_a_secret_is_known_by_its_sha_256() -> None:
    assert secret_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_prefix_shows_too_little_to_guess_the_rest() -> None:
    assert len(prefix_of(new_secret())) == 14
    assert prefix_of("short-one") == "sho"


def test_an_internal_token_stands_for_its_key_until_it_expires() -> None:
    token = mint_internal(42, PLATFORM, NOW_NS, seconds=60)
    assert check_internal(token, PLATFORM, NOW_NS + 59 * 10**9) == 42
    assert check_internal(token, PLATFORM, NOW_NS + 60 * 10**9) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "llmobsint.",
        "llmobsint.42.9999999999.",
        "llmobsint.42.9999999999.00",
        "42.9999999999.00",
        "llmobsint.x.y.z",
        "llmobsint.42.é.0",
    ],
)
def test_what_was_not_minted_here_is_no_token(token: str) -> None:
    assert check_internal(token, PLATFORM, NOW_NS) is None


def test_a_token_for_another_key_or_platform_is_none() -> None:
    token = mint_internal(42, PLATFORM, NOW_NS)
    assert check_internal(token.replace(".42.", ".43."), PLATFORM, NOW_NS) is None
    assert check_internal(token, "another platform", NOW_NS) is None

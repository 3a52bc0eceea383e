"""The release link: an address that only this platform can have made. It opens nothing without a sign-in."""

import hmac
from hashlib import sha256

SIGNATURE_DIGITS = 32


def token(pause_id: str, platform_secret: str) -> str:
    """What stands in the link to a pause."""
    return f"{pause_id}{_signature(pause_id, platform_secret)}"


def pause_of(given: str, platform_secret: str) -> str | None:
    """The pause's id; None: the link is none of ours."""
    pause_id, signature = given[:-SIGNATURE_DIGITS], given[-SIGNATURE_DIGITS:]
    if not pause_id or not given.isascii() or not hmac.compare_digest(signature, _signature(pause_id, platform_secret)):
        return None
    return pause_id


def address(web_url: str, pause_id: str, platform_secret: str) -> str:
    """The link itself."""
    return f"{web_url}/brake/{token(pause_id, platform_secret)}/"


def _signature(pause_id: str, platform_secret: str) -> str:
    # The label keeps these signatures apart from every other use of the same secret.
    return hmac.new(platform_secret.encode(), f"brake:{pause_id}".encode(), sha256).hexdigest()[:SIGNATURE_DIGITS]

"""Whom a call is attributed to: the dimensions that every span and every bill carries."""

import msgspec


class Attribution(msgspec.Struct, frozen=True, array_like=True):
    """Dimensions of one call; "" is unknown, `key_id` 0 is none (a span that no key of ours sent)."""

    service: str = ""
    environment: str = ""
    feature: str = ""
    user_id: str = ""
    session_id: str = ""
    key_id: int = 0

"""Signatures of webhooks by Standard Webhooks (standardwebhooks.com): who sent this, and is it the same message again?

Headers: `webhook-id` (of the delivery: the same at each try), `webhook-timestamp`, `webhook-signature`. While a secret
is being rotated both sign, divided by a space: a receiver that knows either of them accepts.
"""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from standardwebhooks.webhooks import Webhook

SECRET_BYTES = 32  # the specification allows 24 to 64
ROTATION = timedelta(hours=24)  # how long the secret before signs too


def new_secret() -> str:
    """A signing secret, as the receiver's library takes it."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


def headers(signing_secrets: Sequence[str], message_id: str, at: datetime, body: str) -> dict[str, str]:
    """What goes beside the body; `at` is UTC, when this try is made."""
    signatures = [Webhook(secret).sign(message_id, at, body) for secret in signing_secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }

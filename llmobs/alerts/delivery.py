"""Sends one message to one channel: a webhook gets signed JSON, an address a mail, a service what apprise makes of it.

Fails closed: a channel may not point into private networks (it would let a tenant reach what only we can reach)
unless the installation allows it. Of a webhook the address that was looked at is the one that is called: a name that
answers differently the second time leads nowhere else. No redirect is followed. Nothing lasts longer than
TIMEOUT_SECONDS. Messages of errors hold no part of a URL: it may be a secret.
"""

import asyncio
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

import httpx2
from django.core.mail import EmailMessage

from llmobs.alerts import addresses, services, signing
from llmobs.alerts.addresses import AddressError

TIMEOUT_SECONDS = 10.0  # of one try, from looking up the name to the answer's status


class DeliveryError(Exception):
    """The channel did not take the message; the text says why, without secrets of the URL."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: `body` is JSON and the same for every channel; `id` is the same at every try."""

    title: str
    body: dict[str, Any]
    id: str = "0"

    @property
    def lines(self) -> list[str]:
        """The body as people read it."""
        return [f"{name}: {value}" for name, value in self.body.items() if value is not None]


@dataclass(frozen=True, slots=True)
class Way:
    """How an installation lets messages out."""

    schemes: Collection[str] = addresses.DEFAULT_SCHEMES
    allow_private: bool = False


def send(url: str, message: Message, way: Way, signing_secrets: Sequence[str] = ()) -> None:
    """Deliver once, or raise DeliveryError: whatever it is that keeps it from its channel."""
    try:
        addresses.check(url, way.schemes)
        _send(url, message, way, signing_secrets)
    except (AddressError, services.ServiceError) as error:
        raise DeliveryError(str(error)) from None
    except (ValueError, TypeError, httpx2.InvalidURL) as error:  # of a channel's own making; its text may hold secrets
        raise DeliveryError(f"the channel's address cannot be used: {type(error).__name__}") from None


def _send(url: str, message: Message, way: Way, signing_secrets: Sequence[str]) -> None:
    if addresses.is_plain_mail(url):
        _mail(url.removeprefix("mailto:"), message)
    elif addresses.is_web(url):
        asyncio.run(_post(url, message, way, signing_secrets))
    else:
        if not way.allow_private:
            for host in addresses.hosts_of(url):
                addresses.public_address(host)
        text = "\n".join([*message.lines, f"delivery: {message.id}"])
        services.send(url, _line(message.title), text, way.allow_private, TIMEOUT_SECONDS)


def _line(text: str) -> str:
    return " ".join(text.split())  # names and ids of callers are in it; a header is one line


def _mail(address: str, message: Message) -> None:
    title = _line(message.title)
    mail = EmailMessage(title, "\n".join([title, "", *message.lines]), None, [address])
    mail.extra_headers["X-Llmobs-Delivery"] = message.id
    try:
        mail.send()
    except OSError as error:
        raise DeliveryError(f"the mail server did not take it: {type(error).__name__}") from None


async def _post(url: str, message: Message, way: Way, signing_secrets: Sequence[str]) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):  # of the whole: a read timeout alone lets a drip of bytes go on
            status = await _status_of(url, message, way, signing_secrets)
    except TimeoutError:
        raise DeliveryError(f"the webhook did not answer within {TIMEOUT_SECONDS:.0f} s") from None
    except httpx2.HTTPError as error:
        raise DeliveryError(f"the webhook cannot be reached: {type(error).__name__}") from None
    if status >= 300:
        raise DeliveryError(f"the webhook answered HTTP {status}")


async def _status_of(url: str, message: Message, way: Way, signing_secrets: Sequence[str]) -> int:
    parts = urlsplit(url)
    # Through a proxy the installation decides what may be reached; without one we connect to what we looked at.
    where = url
    if not way.allow_private:
        (host,) = addresses.hosts_of(url)
        where = _at_address(parts, await asyncio.to_thread(addresses.public_address, host))
    body = json.dumps({"title": message.title, **message.body})  # ASCII: what is signed is what is sent
    given = signing.headers(signing_secrets, message.id, datetime.now(UTC), body) if signing_secrets else {}
    headers = {"host": parts.netloc.rpartition("@")[2], "content-type": "application/json", **given}
    async with (
        httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=way.allow_private) as client,
        client.stream(
            "POST",
            where,
            content=body.encode(),
            headers=headers,
            extensions={"sni_hostname": parts.hostname or ""},
        ) as response,
    ):
        return response.status_code  # the answer's body is not read: it may be endless


def _at_address(parts: SplitResult, address: str) -> str:
    host = f"[{address}]" if ":" in address else address
    port = f":{parts.port}" if parts.port else ""
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@{host}{port}" if login else f"{host}{port}"))

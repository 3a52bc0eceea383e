"""Sends one alert to one channel: a webhook gets JSON, an address gets a mail.

Fails closed: a webhook may not point into private networks (it would let a tenant reach what only we can reach)
unless the installation allows it.
"""

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
from django.core.mail import send_mail

TIMEOUT_SECONDS = 10.0


class DeliveryError(Exception):
    """The channel did not take the alert; the message says why, without secrets of the URL."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: `body` is JSON and the same for every channel."""

    title: str
    body: dict[str, Any]


def send(url: str, message: Message, allow_private: bool = False) -> None:
    """Deliver once, or raise DeliveryError."""
    scheme = urlsplit(url).scheme
    if scheme == "mailto":
        _mail(url.removeprefix("mailto:"), message)
    elif scheme in ("http", "https"):
        _post(url, message, allow_private)
    else:
        raise DeliveryError(f"channels are https://…, http://… or mailto:…, not {scheme or 'nothing'}:")


def _mail(address: str, message: Message) -> None:
    lines = [message.title, "", *(f"{name}: {value}" for name, value in message.body.items())]
    try:
        send_mail(message.title, "\n".join(lines), None, [address])
    except OSError as error:
        raise DeliveryError(f"the mail server did not take it: {type(error).__name__}") from None


def _post(url: str, message: Message, allow_private: bool) -> None:
    if not allow_private:
        _refuse_private(url)
    try:
        response = httpx2.post(
            url, json={"title": message.title, **message.body}, timeout=TIMEOUT_SECONDS, follow_redirects=False
        )
    except httpx2.HTTPError as error:
        raise DeliveryError(f"the webhook cannot be reached: {type(error).__name__}") from None
    if response.status_code >= 300:
        raise DeliveryError(f"the webhook answered HTTP {response.status_code}")


def _refuse_private(url: str) -> None:
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(parts.hostname or "", port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise DeliveryError(f"the webhook's host cannot be found: {type(error).__name__}") from None
    for *_, address in found:
        if not ipaddress.ip_address(str(address[0]).split("%")[0]).is_global:
            raise DeliveryError("the webhook points into a private network (LLMOBS_PRIVATE_WEBHOOKS=1 allows that)")

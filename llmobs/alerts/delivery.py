"""Sends one alert to one channel: a webhook gets JSON, an address gets a mail.

Fails closed: a webhook may not point into private networks (it would let a tenant reach what only we can reach)
unless the installation allows it. The address that was looked at is the one that is called: a name that answers
differently the second time leads nowhere else.
"""

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

import httpx2
from django.core.mail import send_mail

TIMEOUT_SECONDS = 10.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class DeliveryError(Exception):
    """The channel did not take the alert; the message says why, without secrets of the URL."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: `body` is JSON and the same for every channel."""

    title: str
    body: dict[str, Any]


def send(url: str, message: Message, allow_private: bool = False) -> None:
    """Deliver once, or raise DeliveryError: whatever it is that keeps it from its channel."""
    try:
        _send(url, message, allow_private)
    except (ValueError, TypeError, httpx2.InvalidURL) as error:  # of a channel's own making; its text may hold secrets
        raise DeliveryError(f"the channel's address cannot be used: {type(error).__name__}") from None


def _send(url: str, message: Message, allow_private: bool) -> None:
    scheme = urlsplit(url).scheme
    if scheme == "mailto":
        _mail(url.removeprefix("mailto:"), message)
    elif scheme in ("http", "https"):
        _post(url, message, allow_private)
    else:
        raise DeliveryError(f"channels are https://…, http://… or mailto:…, not {scheme or 'nothing'}:")


def _mail(address: str, message: Message) -> None:
    title = " ".join(message.title.split())  # names and ids of callers are in it; a header is one line
    lines = [title, "", *(f"{name}: {value}" for name, value in message.body.items())]
    try:
        send_mail(title, "\n".join(lines), None, [address])
    except OSError as error:
        raise DeliveryError(f"the mail server did not take it: {type(error).__name__}") from None


def _post(url: str, message: Message, allow_private: bool) -> None:
    parts = urlsplit(url)
    # Through a proxy the installation decides what may be reached; without one we connect to what we looked at.
    host = parts.hostname or ""
    where = url if allow_private else _at_address(parts, _public_address(parts))
    try:
        with httpx2.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=allow_private) as client:
            response = client.post(
                where,
                json={"title": message.title, **message.body},
                headers={"host": parts.netloc.rpartition("@")[2]},
                extensions={"sni_hostname": host},
            )
    except httpx2.HTTPError as error:
        raise DeliveryError(f"the webhook cannot be reached: {type(error).__name__}") from None
    if response.status_code >= 300:
        raise DeliveryError(f"the webhook answered HTTP {response.status_code}")


def _public_address(parts: SplitResult) -> str:
    """The address that the webhook's name stands for; raises DeliveryError unless all of them are public."""
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(parts.hostname or "", port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise DeliveryError(f"the webhook's host cannot be found: {type(error).__name__}") from None
    addresses = [str(address[0]).split("%")[0] for *_, address in found]
    if not all(_is_public(address) for address in addresses):
        raise DeliveryError("the webhook points into a private network (LLMOBS_PRIVATE_WEBHOOKS=1 allows that)")
    return addresses[0]


def _is_public(address: str) -> bool:
    """Whether it is an address of the internet, also within one that wraps an IPv4 address."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if wrapped is None and ip in _NAT64:
            wrapped = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if wrapped is not None and not _is_public(str(wrapped)):
            return False
    return ip.is_global and not ip.is_multicast


def _at_address(parts: SplitResult, address: str) -> str:
    host = f"[{address}]" if ":" in address else address
    port = f":{parts.port}" if parts.port else ""
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@{host}{port}" if login else f"{host}{port}"))

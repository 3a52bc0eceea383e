"""What a channel's URL may be: its scheme, its form, what of it is shown, and which hosts it reaches.

Fails closed: a scheme that is not on the list is no channel. The list (LLMOBS_ALERT_SCHEMES) holds services whose
address is their own, and such as name a host, which is looked up before anything is sent; nothing that runs a command,
writes a file or speaks to this machine. A host of a private network is refused unless the installation allows it.
"""

import ipaddress
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

WEB = ("http", "https")
MAIL = "mailto"
EXAMPLE = "An address such as https://hooks.example.com/x or mailto:ops@example.com."
LONGEST_URL = 2000
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")  # the one part of IPv6 that is given out
_KEPT_APART = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("3fff::/20"))  # by IANA, not by `is_global`
_MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+")

# Services with an address of their own: what stands in the host's place of such a URL is a token.
FIXED = frozenset(
    {
        "slack", "pagerduty", "opsgenie", "discord", "gchat", "wxteams", "tgram", "pover", "victorops", "splunk",
        "spike", "twilio", "sendgrid", "mailgun", "sparkpost",
    }
)  # fmt: skip
# Services that name a host of the user's: it is looked up, here and once more when the connection is made.
HOSTED = frozenset({"workflows", "mailtos", "mmosts", "rockets", "ntfys", "gotifys", "matrixs", "nctalks"})
DEFAULT_SCHEMES = ("slack", "workflows", "pagerduty", "opsgenie", "discord", "gchat", "tgram", "mailtos",
                   "mmosts", "rockets", "ntfys")  # fmt: skip
KNOWN_SCHEMES = FIXED | HOSTED


class AddressError(Exception):
    """A channel cannot have this address; the message says why, without secrets of the URL."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host that a URL reaches, by name or address."""

    name: str
    port: int


def check(url: str, schemes: Collection[str]) -> None:
    """Raise AddressError unless a channel may have this URL. Nothing is looked up."""
    scheme = scheme_of(url)
    if len(url) > LONGEST_URL or not url.isprintable() or " " in url:
        raise AddressError(EXAMPLE)
    if scheme == MAIL and not url.startswith("mailto://"):
        if not _MAIL_ADDRESS.fullmatch(url.removeprefix("mailto:")):
            raise AddressError(EXAMPLE)
    elif scheme in WEB:
        _web_parts(url)
    elif scheme in schemes and scheme in KNOWN_SCHEMES:
        _check_parameters(url)
    else:
        raise AddressError(f"{EXAMPLE} Or one of {', '.join(f'{each}://' for each in sorted(schemes))}…")


def scheme_of(url: str) -> str:
    return url.partition(":")[0].lower()


def is_web(url: str) -> bool:
    return scheme_of(url) in WEB


def is_plain_mail(url: str) -> bool:
    """`mailto:someone@example.com`, sent by the installation's own mail server."""
    return scheme_of(url) == MAIL and not url.startswith("mailto://")


def shown(url: str) -> str:
    """Where it goes, without what may be secret in it."""
    if is_plain_mail(url):
        return url[:300]
    scheme = scheme_of(url)
    if scheme in WEB or scheme in HOSTED:
        return f"{scheme}://{urlsplit(url).hostname or ''}/…"[:300]
    return f"{scheme}://…"


def hosts_of(url: str) -> list[Host]:
    """Hosts that the URL itself names; none for a service with an address of its own."""
    scheme = scheme_of(url)
    if scheme in WEB:
        return [_host(_web_parts(url))]
    if scheme not in HOSTED:
        return []
    parts = urlsplit(url)
    named = [parts.hostname or "", *(value for name, value in parse_qsl(parts.query) if name in ("smtp", "host"))]
    return [Host(unquote(name), parts.port or 443) for name in named if name]


def public_address(host: Host) -> str:
    """An address that the name stands for; raises AddressError unless all of them are of the internet."""
    try:
        found = socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise AddressError(f"the host cannot be found: {type(error).__name__}") from None
    addresses = [str(address[0]).split("%")[0] for *_, address in found]
    if not addresses or not all(is_public(address) for address in addresses):
        raise AddressError("the host is in a private network (LLMOBS_PRIVATE_WEBHOOKS=1 allows that)")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether it is an address of the internet, also within one that wraps an IPv4 address."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if wrapped is None and ip in _NAT64:
            wrapped = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if wrapped is not None and not is_public(str(wrapped)):
            return False
        if wrapped is None and ip not in _UNICAST:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in kept for kept in _KEPT_APART)


def _check_parameters(url: str) -> None:
    """No parameter that would undo what the sending process sets: redirects, and certificates that are not checked."""
    given = {name.lower() for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    if wrong := sorted(given & {"redirect", "verify"}):
        raise AddressError(f"{wrong[0]}= is not for a channel to say")


def _web_parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0:
            return parts
    except ValueError:  # a port that is none, a bracket that does not end
        pass
    raise AddressError(EXAMPLE)


def _host(parts: SplitResult) -> Host:
    return Host(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))

"""Connections to providers, kept per origin: a kept one that is fresh, else a new one (TLS, connect timeout)."""

import asyncio
import ssl
from collections import deque
from urllib.parse import urlsplit

from gateway.connection import ConnectFailed, Connection

MOST_CONNECTIONS = 2_000  # per origin, in use and kept
CONNECT_SECONDS = 5.0
# Kept for less than servers keep theirs, so that a request never meets a closing connection: 5 s is the default of
# Node's and Python's servers (plain HTTP: local models), a minute and more that of load balancers in front of TLS.
KEEP_PLAIN_SECONDS = 4.0
KEEP_TLS_SECONDS = 55.0


class Origin:
    """Connections to one scheme, host and port."""

    __slots__ = ("count", "host", "idle", "keep_seconds", "port", "tls")

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.keep_seconds = KEEP_PLAIN_SECONDS if tls is None else KEEP_TLS_SECONDS
        self.idle: deque[Connection] = deque()
        self.count = 0

    def keep(self, connection: Connection, now: float) -> None:
        connection.is_idle = True
        connection.idle_since = now
        self.idle.append(connection)

    def lost(self, connection: Connection) -> None:
        self.count -= 1
        try:
            self.idle.remove(connection)
        except ValueError:
            pass

    def kept(self, now: float) -> Connection | None:
        """The connection used last, if it is fresh: the older ones grow old and are closed."""
        while self.idle:
            connection = self.idle.pop()
            if connection.is_closed:
                continue
            if now - connection.idle_since < self.keep_seconds:
                connection.is_idle = False
                return connection
            connection.close()
        return None

    def close_old(self, now: float) -> None:
        while self.idle and now - self.idle[0].idle_since >= self.keep_seconds:
            self.idle.popleft().close()


class Upstream:
    """All origins."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._origins: dict[str, Origin] = {}

    def origin(self, base_url: str) -> Origin:
        """The origin of a provider's base URL."""
        found = self._origins.get(base_url)
        if found is None:
            parts = urlsplit(base_url)
            is_tls = parts.scheme == "https"
            key = f"{parts.scheme}://{parts.hostname}:{parts.port or (443 if is_tls else 80)}"
            found = self._origins.get(key)
            if found is None:
                tls = self._context() if is_tls else None
                found = Origin(parts.hostname or "", parts.port or (443 if is_tls else 80), tls)
                self._origins[key] = found
            self._origins[base_url] = found
        return found

    def path_and_host(self, base_url: str) -> tuple[str, str]:
        """A base URL's path, and what the header host says."""
        parts = urlsplit(base_url)
        return parts.path.rstrip("/"), parts.netloc.rpartition("@")[2]

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    async def connect(self, origin: Origin, seconds: float) -> Connection:
        """A connection ready for a request. Raises ConnectFailed."""
        loop = asyncio.get_running_loop()
        connection = origin.kept(loop.time())
        if connection is not None:
            return connection
        if origin.count >= MOST_CONNECTIONS:
            raise ConnectFailed(f"{MOST_CONNECTIONS} connections to {origin.host} are in use")
        origin.count += 1
        made: Connection | None = None
        try:
            async with asyncio.timeout(min(seconds, CONNECT_SECONDS)):
                _, made = await loop.create_connection(
                    lambda: Connection(origin, loop),
                    origin.host,
                    origin.port,
                    ssl=origin.tls,
                    server_hostname=origin.host if origin.tls is not None else None,
                )
                return made
        except TimeoutError:
            raise ConnectFailed(f"no connection to {origin.host} in {min(seconds, CONNECT_SECONDS):g} s") from None
        except OSError as error:  # refused, no such host, TLS
            raise ConnectFailed(f"no connection to {origin.host}: {_why(error)}") from None
        finally:
            if made is None:
                origin.count -= 1

    def close_old(self, now: float) -> None:
        """Close what was kept for too long; called every second or so."""
        for origin in set(self._origins.values()):
            origin.close_old(now)

    def close(self) -> None:
        for origin in set(self._origins.values()):
            while origin.idle:
                origin.idle.pop().close()


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    return (error.strerror or type(error).__name__).lower()

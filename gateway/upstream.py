"""Connections to providers, kept per origin: a kept one that is fresh, else a new one (TLS, connect timeout)."""

import asyncio
import ssl
from collections import deque
from urllib.parse import urlsplit

from gateway.connection import ConnectFailed, Connection, Untrusted
from gateway.deadlines import Deadlines
from gateway.turn import Turn
from gateway.watched import Stamp, stamp

MOST_CONNECTIONS = 2_000  # per origin, in use and kept
CONNECT_SECONDS = 5.0
# Kept for less than servers keep theirs, so that a request never meets a closing connection: 5 s is the default of
# Node's and Python's servers (plain HTTP: local models), a minute and more that of load balancers in front of TLS.
KEEP_PLAIN_SECONDS = 4.0
KEEP_TLS_SECONDS = 55.0


class Origin:
    """Connections to one scheme, host and port."""

    __slots__ = ("count", "deadlines", "host", "idle", "is_retired", "keep_seconds", "port", "tls", "turn")

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        turn: Turn | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        self.deadlines = deadlines if deadlines is not None else Deadlines()
        self.turn = turn if turn is not None else Turn()
        self.host = host
        self.port = port
        self.tls = tls
        self.keep_seconds = KEEP_PLAIN_SECONDS if tls is None else KEEP_TLS_SECONDS
        self.idle: deque[Connection] = deque()
        self.count = 0
        self.is_retired = False

    def keep(self, connection: Connection, now: float) -> None:
        if self.is_retired:
            connection.close()
            return
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

    def close_all(self) -> None:
        while self.idle:
            self.idle.pop().close()


class Upstream:
    """All origins. `origin` is called on the snapshot's thread, everything else on the event loop."""

    def __init__(self, tls: ssl.SSLContext | None = None, turn: Turn | None = None) -> None:
        self._tls = tls
        self._turn = turn if turn is not None else Turn()
        self._deadlines = Deadlines()
        self._origins: dict[tuple[str, str, int, str, bool], Origin] = {}
        self._retired: list[Origin] = []
        self._stamps: dict[str, Stamp] = {}

    def origin(self, base_url: str, ca_file: str = "", verify: bool = True) -> Origin:
        """The origin of a provider's base URL. Raises ValueError where its certificates cannot be read."""
        parts = urlsplit(base_url)
        is_tls = parts.scheme == "https"
        port = parts.port or (443 if is_tls else 80)
        key = (parts.scheme, parts.hostname or "", port, ca_file, verify)
        self._look_at(ca_file)
        found = self._origins.get(key)
        if found is None:
            found = Origin(
                key[1], port, self._context(ca_file, verify) if is_tls else None, self._turn, self._deadlines
            )
            self._origins[key] = found
        return found

    def _look_at(self, ca_file: str) -> None:
        """Certificates that changed: connections under the old ones are used no more."""
        now = stamp(ca_file) if ca_file else None
        if self._stamps.get(ca_file, now) != now:
            for key in [key for key in self._origins if key[3] == ca_file]:
                origin = self._origins.pop(key)
                origin.is_retired = True
                self._retired.append(origin)
        self._stamps[ca_file] = now

    def path_and_host(self, base_url: str) -> tuple[str, str]:
        """A base URL's path, and what the header host says."""
        parts = urlsplit(base_url)
        return parts.path.rstrip("/"), parts.netloc.rpartition("@")[2]

    def _context(self, ca_file: str, verify: bool) -> ssl.SSLContext:
        if not ca_file and verify:
            if self._tls is None:
                self._tls = tls_context()
            return self._tls
        return tls_context(ca_file, verify)

    async def connect(self, origin: Origin, seconds: float, most_seconds: float | None = None) -> Connection:
        """A connection ready for a request, within `seconds` and the provider's own patience. Raises ConnectFailed."""
        loop = asyncio.get_running_loop()
        connection = origin.kept(loop.time())
        if connection is not None:
            return connection
        if origin.count >= MOST_CONNECTIONS:
            raise ConnectFailed(f"{MOST_CONNECTIONS} connections to {origin.host} are in use")
        origin.count += 1
        seconds = min(seconds, CONNECT_SECONDS if most_seconds is None else most_seconds)
        made: Connection | None = None
        try:
            async with asyncio.timeout(seconds):
                _, made = await loop.create_connection(
                    lambda: Connection(origin, loop),
                    origin.host,
                    origin.port,
                    ssl=origin.tls,
                    server_hostname=origin.host if origin.tls is not None else None,
                )
                return made
        except TimeoutError:
            raise ConnectFailed(f"no connection to {origin.host} in {seconds:g} s") from None
        except ssl.SSLCertVerificationError as error:
            message = f"its certificate is not trusted ({error.verify_message})"
            raise Untrusted(f"no connection to {origin.host}: {message}") from None
        except OSError as error:  # refused, no such host, TLS
            raise ConnectFailed(f"no connection to {origin.host}: {_why(error)}") from None
        finally:
            if made is None:
                origin.count -= 1

    def close_old(self, now: float) -> None:
        """Close what was kept for too long; called every second or so."""
        for origin in list(self._origins.values()):
            origin.close_old(now)
        for origin in list(self._retired):
            origin.close_all()
            if not origin.count:
                self._retired.remove(origin)

    def close(self) -> None:
        for origin in [*self._origins.values(), *self._retired]:
            origin.close_all()


def tls_context(ca_file: str = "", verify: bool = True) -> ssl.SSLContext:
    """TLS as a client of providers: the system's certificates vouch, or those of `ca_file` alone.

    Raises ValueError where the file cannot be read or holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except ssl.SSLError:
        raise ValueError(f"ca_file {ca_file} holds no certificate") from None
    except OSError as error:
        raise ValueError(f"ca_file {ca_file} cannot be read: {error.strerror}") from None
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    return (error.strerror or type(error).__name__).lower()

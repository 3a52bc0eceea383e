"""A provider made ready to be called: its origin, its credentials in turn, the unchanging part of each request's head.

Heads are built once for each operation and credential (and model, where the path names it) and kept. Which credential
is next: by weight, smoothly (the one that is owed most), without chance. One that the provider refused is put aside for
a while, as long as another is left.
"""

import logging
import time
from urllib.parse import quote, urlencode

from gateway.upstream import Origin, Upstream
from gateway.watched import Stamp, stamp
from llmobs.providers.credentials import CredentialError, file_of, open_credential
from llmobs.providers.registry import OPERATIONS, ProviderInfo

log = logging.getLogger(__name__)

MOST_HEADS = 2_000  # of one provider: a path with the model's name in it has one for each; then they are built anew
MOST_ASIDE_SECONDS = 600.0
HIDDEN = b"[our credential]"
AUTH_HEADERS = {"bearer": "authorization: Bearer ", "x-api-key": "x-api-key: ", "api-key": "api-key: "}


class Target:
    """One provider. `error` says why it cannot be called."""

    __slots__ = (
        "_aside", "_base_path", "_credentials", "_heads", "_host", "_owed", "_weights", "error", "origin", "provider",
    )  # fmt: skip

    def __init__(
        self,
        provider: ProviderInfo,
        origin: Origin,
        address: tuple[str, str],
        credentials: list[tuple[str, int]],
        error: str = "",
    ) -> None:
        self.provider = provider
        self.origin = origin
        self.error = error
        self._base_path, self._host = address
        self._credentials = [secret for secret, _ in credentials] or [""]
        self._weights = [weight for _, weight in credentials] or [1]
        self._owed = [0] * len(self._weights)
        self._aside: dict[int, float] = {}  # until when, by the monotonic clock
        self._heads: dict[tuple[str, int, str], bytes] = {}

    def credential(self) -> int:
        """The index of the credential to use next."""
        if len(self._weights) == 1:
            return 0
        usable = self._usable()
        if not usable:  # all were refused: the one that is back first
            return min(self._aside, key=lambda index: self._aside[index])
        owed, weights = self._owed, self._weights
        for index in usable:
            owed[index] += weights[index]
        chosen = max(usable, key=lambda index: owed[index])
        owed[chosen] -= sum(weights[index] for index in usable)
        return chosen

    def aside(self, index: int, seconds: float) -> bool:
        """Leave a refused credential (401, 403, 429) alone for a while; whether another is left to go on with."""
        if len(self._weights) == 1:
            return False
        self._aside[index] = time.monotonic() + min(max(seconds, 0.0), MOST_ASIDE_SECONDS)
        return bool(self._usable())

    def hidden(self, body: bytes, index: int) -> bytes:
        """What a provider said, without the credential that it was shown: errors of some repeat it."""
        secret = self._credentials[index].encode("utf-8", "replace")
        return body.replace(secret, HIDDEN) if secret else body

    def _usable(self) -> list[int]:
        if not self._aside:
            return list(range(len(self._weights)))
        now = time.monotonic()
        self._aside = {index: until for index, until in self._aside.items() if until > now}
        return [index for index in range(len(self._weights)) if index not in self._aside]

    def check(self) -> None:
        """Build each head once. Raises ValueError on what no header can hold."""
        for operation in self.provider.serves:
            for index in range(len(self._weights)):
                self.request_lines(operation, index, "")

    def request_lines(self, operation: str, credential: int, model: str) -> bytes:
        """Request line and unchanging headers of a request to this provider."""
        path = self.provider.paths.get(operation, "")
        key = (operation, credential, model if "{model}" in path else "")
        found = self._heads.get(key)
        if found is None:
            if len(self._heads) >= MOST_HEADS:
                self._heads.clear()
            found = self._heads[key] = self._built(operation, credential, model)
        return found

    def _built(self, operation: str, credential: int, model: str) -> bytes:
        provider = self.provider
        path = self._path(operation, model) + (f"?{urlencode(provider.query)}" if provider.query else "")
        lines = [f"POST {path} HTTP/1.1", f"host: {self._host}"]
        lines += ["accept-encoding: identity", "content-type: application/json"]
        secret, header = self._credentials[credential], AUTH_HEADERS.get(provider.auth)
        if secret and header:
            lines.append(header + secret)
        lines += [f"{name}: {value}" for name, value in provider.headers.items()]
        if any(not line.isprintable() or not line.isascii() for line in lines):
            raise ValueError("its credential or headers hold characters that no HTTP header can")
        return "\r\n".join(lines).encode() + b"\r\n"

    def _path(self, operation: str, model: str) -> str:
        own = self.provider.paths.get(operation)
        if own is not None:
            return self._base_path + own.replace("{model}", _segment(model))
        path = OPERATIONS[operation]
        # Anthropic's paths have the version that a base URL may have too.
        base_path = self._base_path.removesuffix("/v1") if path.startswith("/v1/") else self._base_path
        return base_path + path


def _segment(model: str) -> str:
    """A model's name as one segment of a path: what clients say must not lead to another path."""
    return quote(model, safe="") if model.strip(".") else quote(quote(model, safe="").replace(".", "%2E"), safe="")


def ready(provider: ProviderInfo, upstream: Upstream, encryption_keys: tuple[str, ...]) -> Target:
    """A provider's target; never raises: what is wrong is its `error`, and in the log."""
    try:
        origin = upstream.origin(provider.base_url, provider.ca_file, provider.verify)
        address = upstream.path_and_host(provider.base_url)
        target = Target(provider, origin, address, _opened(provider, encryption_keys))
        target.check()
        return target
    except (CredentialError, OSError, ValueError) as error:
        log.error("provider %s cannot be called: %s", provider.name, error)
        return Target(provider, Origin("", 0, None), ("", ""), [], str(error))


def _opened(provider: ProviderInfo, encryption_keys: tuple[str, ...]) -> list[tuple[str, int]]:
    """Those of its credentials that can be had, with their weights. Raises CredentialError where none can."""
    opened: list[tuple[str, int]] = []
    failed: CredentialError | None = None
    for each in provider.credentials:
        try:
            opened.append((open_credential(each.credential, encryption_keys), each.weight))
        except CredentialError as error:
            failed = error
            log.error("provider %s goes on without one of its credentials: %s", provider.name, error)
    if failed is not None and not opened:
        raise failed
    return opened


def files_of(providers: list[ProviderInfo]) -> dict[str, Stamp]:
    """The files that providers' credentials and certificates are in, as they are now."""
    paths = {file_of(each.credential) for provider in providers for each in provider.credentials}
    paths |= {provider.ca_file for provider in providers}
    return {path: stamp(path) for path in sorted(paths - {""})}

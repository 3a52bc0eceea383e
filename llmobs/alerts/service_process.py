"""The process that lets apprise send one message: reads it from its input, says on its output what went wrong.

1. From the first line on, a hook of the interpreter (sys.addaudithook) looks at every connection that is made,
   whoever makes it: an address that is not of the internet is refused, unless the installation allows private ones.
   So are sockets of this machine, commands, and files that are opened to be written.
2. apprise follows no redirect and keeps nothing on disk.
3. Of apprise's log only the status that the service answered is told: the rest may hold secrets.
"""

import json
import logging
import os
import re
import sys
from typing import Any

from apprise import Apprise, AppriseAsset, PersistentStoreMode

from llmobs.alerts.addresses import is_public

STATUS = re.compile(r"error=(\d{3})\b")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND
COMMANDS = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "pty.spawn"})
CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


class Guard:
    """The hook. It stays for as long as the process lives; `refused` says why, if it ever said no."""

    def __init__(self, allow_private: bool) -> None:
        self.allow_private = allow_private
        self.refused = ""

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in CONNECTS:
            self._check(arguments[1])
        elif event in COMMANDS:
            self._refuse("the service would run a command")
        elif event == "open" and arguments[2] & WRITES and arguments[0] != os.devnull:
            self._refuse("the service would write a file")

    def _check(self, address: Any) -> None:
        if not isinstance(address, tuple):
            self._refuse("the service would speak to a socket of this machine")
        elif not self.allow_private and not _is_public(str(address[0])):
            self._refuse("the host is in a private network (LLMOBS_PRIVATE_WEBHOOKS=1 allows that)")

    def _refuse(self, why: str) -> None:
        self.refused = why
        raise PermissionError(why)


class Statuses(logging.Handler):
    """Keeps the status that apprise logs, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.status = ""

    def emit(self, record: logging.LogRecord) -> None:
        if found := STATUS.search(record.getMessage()):
            self.status = found[1]


def main() -> int:
    given = json.load(sys.stdin)
    guard, statuses = Guard(bool(given["allow_private"])), Statuses()
    log = logging.getLogger("apprise")
    log.handlers, log.propagate = [statuses], False
    asset = AppriseAsset(
        http_redirects=False,
        storage_mode=PersistentStoreMode.MEMORY,
        plugin_paths=[],
        async_mode=False,
        secure_logging=True,
    )
    service = Apprise.instantiate(given["url"], asset=asset, suppress_exceptions=True)
    if service is None:
        return _failed("apprise does not understand the address; docs/alerts.md says where its form is told")
    sys.addaudithook(guard)
    if service.notify(title=given["title"], body=given["text"]):
        return 0
    told = f"the service answered HTTP {statuses.status}" if statuses.status else "the service did not take it"
    return _failed(guard.refused or told)


def _is_public(address: str) -> bool:
    try:
        return is_public(address.split("%")[0])
    except ValueError:  # a name: what resolves it connects to its addresses, which are looked at in turn
        return False


def _failed(why: str) -> int:
    sys.stdout.write(why)
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""One gateway process, on a socket it was given or on `--port`: what it is asked to be, and until when it runs."""

import argparse
import logging
import secrets
import signal
import socket
import sys

import uvicorn
import uvloop

from gateway.plane import Plane
from gateway.serving import Wiring, serve
from llmobs.core.env import EnvError, Place, read_str
from llmobs.ingest.journal import JournalError


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m gateway", description=__doc__)
    door = parser.add_mutually_exclusive_group()
    door.add_argument("--fd", type=int, help="a listening socket inherited from the supervisor")
    door.add_argument("--port", type=int, default=4000)
    parser.add_argument("--host", default="127.0.0.1")
    # A name of its own for each process: under a dead one's, what that left open would not count as abandoned.
    own_name = f"gateway-{secrets.token_hex(6)}"
    parser.add_argument("--owner", default=own_name, help="the name of this process's journal")
    parser.add_argument("--lanes", type=int, default=1, help="journals that reports go to in turn, for several writers")
    options = parser.parse_args()
    logging.basicConfig(
        level=read_str("LLMOBS_LOG_LEVEL", "info").upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        sock = _socket(options.fd, options.host, options.port)
        uvloop.run(serve(Wiring.of(Place.from_env(), options.owner, options.lanes), sock, _started))
    except (EnvError, JournalError, OSError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1
    return 0


def _socket(fd: int | None, host: str, port: int) -> socket.socket:
    if fd is not None:
        return socket.socket(fileno=fd)
    return socket.create_server((host, port), backlog=2048)


def _started(server: uvicorn.Server, plane: Plane) -> None:
    # uvicorn repeats the signal that ended it to whoever had it before: nobody, so that the rest is put away in order.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

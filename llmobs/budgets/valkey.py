"""Talks to Valkey for the processes that may wait for it: writer, web, commands. The gateway has its own client."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar

from redis.exceptions import NoScriptError

from llmobs.budgets import ledger
from llmobs.budgets.ledger import Command, Fold, text

# Commands per round trip, so that a large ledger neither keeps others from Valkey for long nor fills our memory.
AT_ONCE = 500

T = TypeVar("T")


class EpochChanged(Exception):
    """The ledger is in another epoch: it was lost, or is being rebuilt. Keep what was to be sent, join, send again."""


class Client(Protocol):
    """What we need of redis-py's client."""

    def execute_command(self, *args: Any, **options: Any) -> Any: ...
    def pipeline(self, transaction: bool = True) -> Any: ...


def run(client: Client, command: Command) -> Sequence[Any]:
    """Send one command, answer its reply. Raises what the client raises when the server is away."""
    try:
        return list(client.execute_command(*command.evalsha()))
    except NoScriptError:  # a new server; it keeps the script from now on
        return list(client.execute_command(*command.eval()))


def send(client: Client, commands: Iterable[Command]) -> int:
    """Send changes in their order, many per round trip; how many fields changed. Raises EpochChanged.

    All of them may be sent again, whole, after any error.
    """
    return sum(reply[1] if len(reply) > 1 else 0 for reply in _replies(client, commands))


def _replies(client: Client, commands: Iterable[Command]) -> Iterator[Sequence[Any]]:
    known: set[str] = set()
    for batch in batches(commands):
        for script in {command.script for command in batch}:
            if script.sha not in known:
                client.execute_command("SCRIPT LOAD", script.text)
                known.add(script.sha)
        pipeline = client.pipeline(transaction=False)
        for command in batch:
            pipeline.execute_command(*command.evalsha())
        for reply in pipeline.execute():
            if reply[0] not in (ledger.DONE, ledger.REFUSED):
                raise EpochChanged(f"the ledger's epoch is {text(reply[1])!r} now")
            yield reply


def fold(client: Client, epoch: str, folds: Iterable[Fold]) -> int:
    """Bring commits into the ledger, in their order; how many attempts were dropped. Raises EpochChanged."""
    return send(client, (ledger.fold(epoch, change) for change in folds))


def fold_in_order(client: Client, epoch: str, folds: Sequence[Fold]) -> list[Fold]:
    """As `fold`, but each key's commits in the order of their versions; answers those that wait for another writer's.

    A base holds all that was committed before it. Before another's fold of that, what it drops would count twice.
    """
    replies = _replies(client, (ledger.fold(epoch, change, in_order=True) for change in folds))
    return [change for change, reply in zip(folds, replies, strict=True) if reply[0] == ledger.REFUSED]


def scan(client: Client, pattern: str) -> Iterator[str]:
    """Keys that match, in steps; a key that comes or goes meanwhile may be missed, any may be told twice."""
    cursor = 0
    while True:
        at, names = client.execute_command("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        yield from (text(name) for name in names)
        cursor = int(at)
        if cursor == 0:
            return


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """The items, AT_ONCE at a time."""
    rest = iter(items)
    while batch := list(islice(rest, AT_ONCE)):
        yield batch

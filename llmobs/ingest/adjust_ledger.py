"""What the ledger must learn after a re-pricing: the sums that changed, of live windows and of those that are over.

A base that holds calls whose attempts still stand in the ledger would count them twice: so the live windows are
brought as one who joins brings them, with those attempts. Any writer's own fold may come before or after: versions say
which is newer.
"""

from llmobs.budgets import recovery, valkey
from llmobs.budgets.ledger import Fold
from llmobs.budgets.sweep import live_attempts
from llmobs.budgets.valkey import Client
from llmobs.ingest.adjust import Connection


def teach(conn: Connection, client: Client, folds: list[Fold], at_ns: int) -> None:
    """Bring changed sums into the ledger. Where none is open yet, whoever opens it brings them.

    `conn` is in autocommit. Raises EpochChanged, and what the client raises when Valkey is away: try again.
    """
    epoch = recovery.open_epoch(client)
    if epoch is None or not folds:
        return
    recovery.publish(client, epoch, recovery.read_snapshot(conn, at_ns, lambda: list(live_attempts(client))))
    valkey.fold(client, epoch, folds)

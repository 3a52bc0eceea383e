"""What gateways say of their canary: a call under a budget of zero, which each of them tries at its start."""

from dataclasses import dataclass

from dashboards.queries.scope import Cursor

SEEN_SECONDS = 5  # gateways beat every second
REFUSED = "refused"


@dataclass(frozen=True)
class Canaries:
    """`gateways` run, `refused` of them saw their canary refused; `wrong`: what the others saw instead."""

    gateways: int
    refused: int
    wrong: tuple[str, ...]


def canaries(cursor: Cursor) -> Canaries:
    """Of the gateways that run now. "" is none of the wrong ones: not tried yet, or the ledger recovers."""
    cursor.execute(
        "SELECT canary FROM heartbeat WHERE kind = 'gateway' AND seen_at > now() - make_interval(secs => %s)",
        [SEEN_SECONDS],
    )
    said = [canary for (canary,) in cursor.fetchall()]
    return Canaries(len(said), said.count(REFUSED), tuple(sorted({each for each in said if each not in ("", REFUSED)})))

"""Whether the journals' disk has the room that they may take: else it is full before they are."""

import shutil

from llmobs.core.env import Place
from llmobs.ingest.journal import most_journal_bytes
from llmobs.ingest.journal_folders import journal_bytes

_MB = 1024 * 1024


def missing_mb(place: Place) -> int:
    """By how much the journals' bound passes what is free on their disk; 0: it fits."""
    folder = place.journal if place.journal.exists() else place.folder
    wanted = most_journal_bytes() - journal_bytes(place.journal)
    return max(0, -(-(wanted - shutil.disk_usage(folder).free) // _MB))

"""A backup's secrets into a data folder; the passwords of the folder's own stores stay its own."""

import base64
import json
from typing import Any

from llmobs.core.env import Place, replace_file
from llmobs.keeping.backup import Backup, BackupError
from llmobs.keeping.passphrase import fingerprint, unseal
from llmobs.keeping.refilling import has_journals


def take_over(place: Place, backup: Backup, passphrase: str) -> None:
    """Write the backup's secrets over the folder's. Raises BackupError, PassphraseWrong."""
    sealed = backup.secrets["sealed"]
    if sealed is None:
        raise BackupError("the secrets are not in this backup: put its secrets.json into the data folder instead")
    given: dict[str, Any] = json.loads(unseal(sealed, passphrase))
    journal_key = bytes.fromhex(given["journal_key"])
    if place.secrets().journal_key != journal_key and has_journals(place):
        raise BackupError(
            f"the journals in {place.journal} are sealed by another key: let a writer drain them, or move them away"
        )
    kept = json.loads(place.secrets_file.read_bytes())
    kept |= {
        "secret_key": given["secret_key"],
        "encryption_keys": given["encryption_keys"],
        "journal_key": base64.b64encode(journal_key).decode(),
    }
    replace_file(place.secrets_file, json.dumps(kept, indent=1).encode())


def lacking(place: Place, backup: Backup) -> list[str]:
    """What of the backup cannot be read by the secrets that hold here, in words."""
    secrets = place.secrets()
    prints = backup.secrets["fingerprints"]
    found = []
    if fingerprint("".join(secrets.encryption_keys).encode()) != prints["encryption_key"]:
        found.append("provider credentials that are stored sealed")
    if fingerprint(secrets.journal_key) != prints["journal_key"]:
        found.append("dead letters, and journals that were not written yet")
    return found

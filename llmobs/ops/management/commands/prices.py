"""`prices`: overrides out to CSV and in from it; signed snapshots of list prices, made, checked and taken over."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from llmobs.pricing import importing, snapshots, updating
from llmobs.pricing.models import Price
from llmobs.pricing.price import Price as Computed
from llmobs.pricing.sheet import SheetError
from llmobs.pricing.snapshots import SnapshotError, fingerprint, public_text

ACTOR = "prices"
STDIN = "-"


class Command(BaseCommand):
    help = "Export and import prices as CSV; make, sign and take over signed snapshots of list prices."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("export", help="all overrides as CSV, to standard output")
        bring = actions.add_parser("import", help="show what a CSV file changes; --apply writes it")
        bring.add_argument("file", help="a CSV file; - reads it from standard input")
        bring.add_argument("--apply", action="store_true", help="write it (audited), all or nothing")
        key = actions.add_parser("newkey", help="make a key to sign snapshots with, and print its public half")
        key.add_argument("file", help="where the private key goes; it must not exist")
        sign = actions.add_parser("sign", help="make and sign a snapshot; writes OUT and OUT.sig")
        sign.add_argument("file", help="genai-prices' data as JSON (a list of providers)")
        sign.add_argument("--key", required=True, help="the private key's file")
        sign.add_argument("--name", required=True, help="what the snapshot is called; never used twice")
        sign.add_argument("--from", required=True, dest="since", help="the time from which it holds, with its zone")
        sign.add_argument("--out", required=True, help="the snapshot's file")
        update = actions.add_parser("update", help="check a signed snapshot, show what changes, take it over")
        update.add_argument("file", help="the snapshot; its signature is beside it (FILE.sig)")
        update.add_argument("--apply", action="store_true", help="take it over (audited) without asking")

    def handle(self, *args: Any, **options: Any) -> None:
        actions: dict[str, Callable[[dict[str, Any]], None]] = {
            "export": self._export,
            "import": self._import,
            "newkey": self._new_key,
            "sign": self._sign,
            "update": self._update,
        }
        try:
            actions[options["action"]](options)
        except OSError as error:
            raise CommandError(f"{error.filename} cannot be read or written: {error.strerror}") from None
        except SheetError as error:
            raise CommandError(f"nothing has changed:\n{error}") from None
        except (SnapshotError, UnicodeDecodeError) as error:
            raise CommandError(f"nothing has changed: {error}") from None

    def _export(self, options: dict[str, Any]) -> None:
        self.stdout.write(importing.export(Price.objects.select_related("tenant")), ending="")

    def _import(self, options: dict[str, Any]) -> None:
        file, is_applied = options["file"], options["apply"]
        text = sys.stdin.read() if file == STDIN else Path(file).read_bytes().decode()
        found = importing.bring_in(text, ACTOR, is_applied)
        self.stdout.write(f"{found}{'' if is_applied else ' (nothing is written; --apply writes it)'}")

    def _new_key(self, options: dict[str, Any]) -> None:
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = Path(options["file"])
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(pem)
        self.stdout.write(f"LLMOBS_PRICES_KEY={public_text(key.public_key())}")

    def _sign(self, options: dict[str, Any]) -> None:
        key = load_pem_private_key(Path(options["key"]).read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise SnapshotError("the key is no Ed25519 key, as `prices newkey` makes them")
        try:
            since = datetime.fromisoformat(options["since"])
        except ValueError:
            raise SnapshotError(f"{options['since'][:40]!r} is no time; one is 2026-11-21T00:00:00Z") from None
        content = snapshots.make_snapshot(options["name"], since, Path(options["file"]).read_bytes())
        file = snapshots.read_snapshot(content)
        out = Path(options["out"])
        out.write_bytes(content)
        Path(f"{out}.sig").write_bytes(snapshots.sign(content, key))
        models = sum(len(provider.models) for provider in file.data.providers)
        self.stdout.write(f"{out} and {out}.sig: {models} models, from {file.effective_from:%Y-%m-%d %H:%M} UTC on")

    def _update(self, options: dict[str, Any]) -> None:
        if not settings.PRICES_KEY:
            raise CommandError("LLMOBS_PRICES_KEY is not set: the public key of whoever publishes your prices")
        key = snapshots.public_key_of(settings.PRICES_KEY)
        path = options["file"]
        update = updating.prepare(Path(path).read_bytes(), Path(f"{path}.sig").read_bytes(), key)
        self._tell(update, fingerprint(key))
        if update.is_known:
            self.stdout.write("it is taken over already")
            return
        if not (options["apply"] or self._is_wanted()):
            self.stdout.write("nothing has changed; --apply takes it over")
            return
        updating.store(update, ACTOR)
        self.stdout.write(f"prices {update.file.name} hold from {update.file.effective_from:%Y-%m-%d %H:%M} UTC on")

    def _tell(self, update: updating.Update, signer: str) -> None:
        file = update.file
        self.stdout.write(f"prices {file.name}, from {file.effective_from:%Y-%m-%d %H:%M} UTC on, signed by {signer}")
        for each in update.changed[: updating.MOST_TOLD]:
            self.stdout.write(
                f"~ {each.provider}/{each.model}: {_rates(each.before)} -> {_rates(each.after)}; "
                f"{each.requests} calls on {each.days} day(s) since"
            )
        self.stdout.write(f"{len(update.changed)} models in use change their price")
        if update.changed and updating.is_backdated(file, datetime.now(UTC)):
            self.stdout.write("! calls that are recorded keep their bills; price them again to change these")

    def _is_wanted(self) -> bool:
        return sys.stdin.isatty() and input("Take them over? [y/N] ").strip().lower() in ("y", "yes")


def _rates(price: Computed | None) -> str:
    if price is None:
        return "no price"
    return f"{price.rates.uncached_input / 1e9:g}/{price.rates.output / 1e9:g} USD per million"

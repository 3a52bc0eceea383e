"""`manage.py archive list|check|restore`: archived days, whether their files are sound, and back into the tables."""

from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from llmobs.keeping import erased
from llmobs.keeping.connecting import alone, connect
from llmobs.keeping.manifest import ArchiveError, is_sound, read
from llmobs.keeping.place import archive_folder
from llmobs.keeping.restoring import Connection, in_order, restore, whose


class Command(BaseCommand):
    help = "List archived days, check their files, or bring them back into the tables."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="what", required=True)
        commands.add_parser("list", help="every file with its rows")
        commands.add_parser("check", help="compare every file with its manifest; exit 1 on any difference")
        restoring = commands.add_parser("restore", help="bring files back; spans that are there stay as they are")
        restoring.add_argument("files", nargs="+", type=Path, metavar="FILE", help="files, or folders of them")
        restoring.add_argument("--days", type=int, default=30, help="how long retention leaves them alone (30)")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['what']}")(options)
        except ArchiveError as error:
            raise CommandError(str(error)) from None

    def _list(self, options: dict[str, Any], is_checked: bool = False) -> None:
        wrong = 0
        for folder in sorted(archive_folder(settings.PLACE).glob("tenant=*/day=*")):
            for entry in read(folder):
                told = f"{folder.parent.name}/{folder.name}/{entry.file}: {entry.sums.rows} rows, {entry.bytes} bytes"
                if is_checked and not is_sound(folder, entry):
                    wrong += 1
                    told += ", NOT what its manifest says"
                self.stdout.write(told)
        if wrong:
            raise CommandError(f"{wrong} files are damaged or missing")

    def _check(self, options: dict[str, Any]) -> None:
        self._list(options, is_checked=True)

    def _restore(self, options: dict[str, Any]) -> None:
        until = datetime.now(UTC).date() + timedelta(days=max(1, options["days"]))
        paths = in_order(options["files"])
        if not paths:
            raise CommandError("there is no Parquet file in what was named")
        with connect() as conn:
            alone(conn)
            self._erase_again(conn, {path.absolute().parent for path in paths})
            for path in paths:
                done = restore(conn, path.absolute(), until)
                self.stdout.write(f"{path}: {done.rows} rows brought back, {done.was_there} were there")
        self.stdout.write(f"Retention leaves them alone until {until}.")

    def _erase_again(self, conn: Connection, folders: set[Path]) -> None:
        """Who was erased since these files were copied, before any of it comes back."""
        key = settings.SECRETS.secret_key
        lists = [folder / erased.FILE for folder in (settings.PLACE.folder, archive_folder(settings.PLACE))]
        people = [*erased.read(lists), *erased.of_tables(conn, key)]
        for folder in sorted(folders):
            slug = folder.parent.name.removeprefix("tenant=")
            prints = {each.fingerprint for each in people if each.tenant == slug}
            tenant_id, day = whose(conn, folder)
            for done in erased.clean_folder(folder, (tenant_id, slug, day), key, prints) if prints else ():
                self.stdout.write(f"{done.file}: {done.rows} rows of people who were erased since, written anew")

"""`manage.py bridge`: the bridge to providers that speak neither format, in its own environment."""

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

ROOT = Path(__file__).resolve().parents[4]
FOLDER = ".venv-bridge"  # beside manage.py: `make bridge` makes it


class Command(BaseCommand):
    help = "Serve providers that speak neither format in OpenAI's, on any-llm's SDK (`make bridge` installs that)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
        parser.add_argument("--port", type=int, default=4200, help="default 4200")
        parser.add_argument("--provider", default="", help="of models that name none, such as gemini")
        parser.add_argument("--python", type=Path, help="an interpreter whose environment has the SDK")

    def handle(self, *args: Any, **options: Any) -> None:
        python = options["python"] or ROOT / FOLDER / "bin/python"
        if not Path(python).is_file():
            raise CommandError(
                f"{python} is missing: `make bridge`, or name by --python one with requirements-bridge.txt installed"
            )
        self.stdout.write(f"bridge on http://{options['host']}:{options['port']}/v1")
        self.stdout.flush()
        flags = ["--host", options["host"], "--port", str(options["port"]), "--provider", options["provider"]]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        os.execve(python, [str(python), "-m", "llmobs.ops.bridge", *flags], environ)  # noqa: S606

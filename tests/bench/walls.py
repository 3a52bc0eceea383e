"""What the wall in PostgreSQL costs a page: CPU time of the backend that answers it, with it and without, in turns.

`python -m tests.bench walls DIR`, DIR as `scale --keep DIR` left it. The platform runs from that folder. A process of
the web's settings (the web's role, behind its policies) and one of the owner's ask the same pages as the same member
of one tenant, in turns; what a backend used is the kernel's own count, in nanoseconds. No parallel workers, whose time
would be another process's. Each page is asked once before it is counted; the median of all turns is shown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import psycopg

from tests.bench.machine import ROOT
from tests.bench.queries import known_of, up

TURNS = 25
MEMBER = "walls"
SIDES = {"with": "llmobs.web_settings", "without": "llmobs.settings"}
ONE_PROCESS = "-c max_parallel_workers_per_gather=0"
MONTH = "last=30d&tenant=atlas"


def pages(folder: Path, url: str) -> list[str]:
    """Five pages; who may see them is a member of the first tenant."""
    with psycopg.connect(url, autocommit=True) as conn:
        known = known_of(conn)
        trace = conn.execute(
            "SELECT encode(trace_id, 'hex') FROM trace WHERE tenant_id = 1 AND span_count BETWEEN 5 AND 20 "
            "ORDER BY day LIMIT 1"
        ).fetchone()
    assert trace is not None, "the folder holds no trace"
    return [
        f"/?{MONTH}", f"/traces/?{MONTH}", f"/costs/?{MONTH}", f"/traces/?{MONTH}&user={known.user}",
        f"/traces/{trace[0]}/",
    ]  # fmt: skip


@contextmanager
def asking(folder: Path, settings: str) -> Iterator["Asking"]:
    """A process that asks pages; ended with the block."""
    env = {**os.environ, "LLMOBS_DATA": str(folder), "DJANGO_SETTINGS_MODULE": settings, "PGOPTIONS": ONE_PROCESS}
    command = [sys.executable, "-m", "tests.bench.walls", "--answer"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Asking(process.stdin, process.stdout)
    finally:
        process.stdin.close()
        process.wait(60)


class Asking:
    """A page asked in that process."""

    def __init__(self, words: IO[str], said: IO[str]) -> None:
        self._words, self._said = words, said

    def ask(self, address: str) -> tuple[float, int, str]:
        """(milliseconds of the backend, statements, its role in PostgreSQL)."""
        self._words.write(address + "\n")
        self._words.flush()
        took, statements, role = json.loads(self._said.readline())
        return float(took), int(statements), str(role)


def answer() -> None:
    """The other side: an address on each line, what it took on each."""
    import django
    from django.conf import settings

    settings.DATABASES["default"]["OPTIONS"].pop("pool", None)  # one backend answers everything
    django.setup()
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from llmobs.tenants.models import User

    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(username=MEMBER))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), session_user")
        pid, role = cursor.fetchone()
    used = Path(f"/proc/{pid}/schedstat")
    for line in sys.stdin:
        before = int(used.read_text().split()[0])
        with CaptureQueriesContext(connection) as captured:
            status = client.get(line.strip()).status_code
        assert status == 200, f"{line.strip()} was answered {status}"
        print(json.dumps([(int(used.read_text().split()[0]) - before) / 1e6, len(captured), role]), flush=True)


def main(words: list[str]) -> None:
    """Print a row for each page."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench walls")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(words).folder.resolve()
    with up(folder) as (_, url), ExitStack() as stack:
        asked = pages(folder, url)
        _make_member(url)
        sides = {name: stack.enter_context(asking(folder, settings)) for name, settings in SIDES.items()}
        print(f"{'CPU of PostgreSQL a page':<44} {'without':>10} {'with':>10} {'more':>7} {'statements':>11}")
        for address in asked:
            took: dict[str, list[float]] = {name: [] for name in sides}
            roles, statements = {}, 0
            for turn in range(TURNS + 1):
                # Whoever comes second may find what the first has put into the web's cache.
                for name in sorted(sides, reverse=bool(turn % 2)):
                    spent, statements, roles[name] = sides[name].ask(address)
                    if turn:
                        took[name].append(spent)
            assert roles["with"] != roles["without"], f"both sides are {roles['with']}: there is no wall"
            without, behind = (statistics.median(took[name]) for name in ("without", "with"))
            shown = address if len(address) < 44 else address[:41] + "…"
            print(f"{shown:<44} {without:>7.1f} ms {behind:>7.1f} ms {behind - without:>+6.1f} {statements:>11}")


def _make_member(url: str) -> None:
    """Of the first tenant, once."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO tenants_user (username, password, first_name, last_name, email, is_superuser, is_staff, "
            "is_active, date_joined) VALUES (%s, '!', '', '', '', false, false, true, now()) ON CONFLICT DO NOTHING",
            (MEMBER,),
        )
        conn.execute(
            "INSERT INTO tenants_membership (user_id, tenant_id, role) SELECT id, 1, 'viewer' FROM tenants_user "
            "WHERE username = %s ON CONFLICT DO NOTHING",
            (MEMBER,),
        )


if __name__ == "__main__":
    answer()

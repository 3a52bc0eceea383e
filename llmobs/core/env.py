"""Where a platform lives and what it was told: the data folder, its secrets, its addresses, the environment.

The environment wins over what the folder keeps; nonsense refuses to start with an `EnvError` that names the
variable, the value (never of a secret) and what would be right.
"""

import base64
import binascii
import json
import os
import secrets as random
import socket
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

# Valkey's databases: the ledger alone in 0 (never evicted), Celery's wake-ups, the web's cache.
LEDGER_DB = 0
BROKER_DB = 1
CACHE_DB = 2

JOURNAL_KEY_BYTES = 32  # AES-256
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}

# Every variable that llmobs reads, with its meaning; the compose file's variables are checked against it.
VARIABLES = {
    "LLMOBS_DATA": "the data folder (default var/)",
    "LLMOBS_HOST": "this host's name among several (docs/hosts.md); default: the machine's",
    "DATABASE_URL": "PostgreSQL 15 or newer; without it the embedded one",
    "WEB_DATABASE_URL": "the same PostgreSQL as the web's own role, which sees one tenant at a time (docs/walls.md)",
    "READ_DATABASE_URL": "a replica of DATABASE_URL, which pages and figures over REST are read from (docs/hosts.md)",
    "VALKEY_URL": "Valkey 7.2 or newer, or Redis 7; without it the embedded one",
    "REDIS_URL": "the same as VALKEY_URL, which wins",
    "CELERY_BROKER_URL": "any Celery broker; default: database 1 of VALKEY_URL",
    "LLMOBS_SECRET_KEY": "Django's secret key; default: made once, in secrets.json",
    "LLMOBS_ENCRYPTION_KEYS": "comma-separated Fernet keys for credentials at rest, newest first; default: made once",
    "LLMOBS_JOURNAL_KEY": "32 bytes in base64 that seal journals and snapshot; default: made once, in secrets.json",
    "LLMOBS_ADMIN_PASSWORD": "first password of the operator `admin`; default: made once, in secrets.json",
    "FORWARDED_ALLOW_IPS": "proxies whose X-Forwarded-For the gateway believes, commas between (127.0.0.1)",
    "LLMOBS_CONNECTIONS_PER_ADDRESS": "most that one address may have open at a gateway process (1000); 0: any",
    "LLMOBS_OPERATOR_KEY": "bootstraps an operator key for the REST API",
    "LLMOBS_ALLOWED_HOSTS": "comma-separated names of the web, besides this machine's own",
    "LLMOBS_BASE_URL": "the web's public address, such as https://llmobs.example.com",
    "LLMOBS_DEBUG": "yes: Django's debug pages, never in production (default no)",
    "LLMOBS_EMAIL_URL": "smtp://user:password@host:port or smtps://…; default: e-mail is printed to the log",
    "LLMOBS_EMAIL_FROM": "sender of e-mail (default llmobs@localhost)",
    "LLMOBS_PRICES_KEY": "public key of who publishes your prices: 32 bytes in base64 (docs/prices.md)",
    "LLMOBS_ALERT_SCHEMES": "services that alerts may be sent by, divided by commas (docs/alerts.md)",
    "LLMOBS_LOG_LEVEL": "debug, info, warning or error (default info)",
    "LLMOBS_DB_POOL": "most database connections of one web process; 0, the default, opens one per request",
    "LLMOBS_GATEWAY_URL": "where our own judges reach the gateway (default: the one that runs on the data folder)",
    "LLMOBS_JOURNAL_MB": "most that all journals of the data folder may take together, MB (default 8192)",
    "LLMOBS_UNRECORDED": "what becomes of a call that the journal does not take: refuse (the default) or allow",
    "LLMOBS_ARCHIVE": "a folder that is there, for archived days (default: archive/ in the data folder)",
    "LLMOBS_PRIVATE_WEBHOOKS": "yes: alert channels may call loopback and private addresses (default no)",
    "OPENAI_API_KEY": "credential of the default provider openai",
    "ANTHROPIC_API_KEY": "credential of the default provider anthropic",
}


class EnvError(Exception):
    """A variable, or a file of the data folder, does not say what it should."""


def read_str(name: str, default: str = "") -> str:
    """The variable without surrounding blanks; unset or blank gives the default."""
    return os.environ.get(name, "").strip() or default


def read_int(name: str, default: int, least: int = 0, most: int = 2**31 - 1) -> int:
    """The variable as a whole number within bounds; raises EnvError otherwise."""
    text = read_str(name)
    if not text:
        return default
    try:
        number = int(text)
    except ValueError:
        raise EnvError(f"{name}={text!r} is not a whole number") from None
    if not least <= number <= most:
        raise EnvError(f"{name}={number} is not between {least} and {most}")
    return number


def read_bool(name: str, default: bool) -> bool:
    """The variable as yes or no (also 1/0, true/false, on/off); raises EnvError otherwise."""
    text = read_str(name).lower()
    if not text:
        return default
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise EnvError(f"{name}={text!r} is neither yes nor no")


def read_list(name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The variable's comma-separated parts, blanks dropped."""
    return tuple(part.strip() for part in read_str(name).split(",") if part.strip()) or default


@dataclass(frozen=True)
class Secrets:
    """What is made once per data folder and never shown (but for the operator's first password)."""

    secret_key: str
    encryption_keys: tuple[str, ...]  # Fernet keys, newest first
    journal_key: bytes  # 32 bytes: seals journals and snapshot
    postgres_password: str
    valkey_password: str
    admin_password: str

    def __repr__(self) -> str:
        return "Secrets(…)"


@dataclass(frozen=True)
class Connections:
    """Addresses of the platform that runs on a data folder."""

    database_url: str
    valkey_url: str  # the ledger's database; others by `with_db`
    gateway_port: int = 4000
    web_port: int = 8000
    otlp_grpc_port: int | None = None  # None: not answered
    otlp_grpc_state_port: int | None = None  # its /healthz, /readyz and /metrics, on loopback
    web_database_url: str = ""  # as the web's own role; "": there is none, and no second wall

    def __repr__(self) -> str:
        return f"Connections(gateway_port={self.gateway_port}, web_port={self.web_port})"  # addresses hold passwords


def host_name() -> str:
    """The host, as heartbeats and journals name it: LLMOBS_HOST, else the machine's name."""
    return read_str("LLMOBS_HOST", socket.gethostname())


def data_dir() -> Path:
    """The data folder: LLMOBS_DATA, else var/ under the current folder; absolute, perhaps not there yet."""
    return Path(read_str("LLMOBS_DATA", "var")).expanduser().absolute()


VALKEY_SOCKET = "socket"  # of the embedded Valkey, in its folder


@dataclass(frozen=True)
class Place:
    """A data folder and what lies where in it."""

    folder: Path

    @classmethod
    def from_env(cls) -> "Place":
        return cls(data_dir())

    @property
    def run_file(self) -> Path:
        return self.folder / "run.json"

    @property
    def lock_file(self) -> Path:
        return self.folder / "up.lock"

    @property
    def journal(self) -> Path:
        """Holds one folder per owner."""
        return self.folder / "journal"

    @property
    def snapshot(self) -> Path:
        return self.folder / "snapshot"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def valkey(self) -> Path:
        return self.folder / "valkey"

    @property
    def secrets_file(self) -> Path:
        return self.folder / "secrets.json"

    @property
    def connections_file(self) -> Path:
        return self.folder / "connections.json"

    def make(self) -> None:
        """Make the folder, for its owner alone."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise EnvError(f"the data folder {self.folder} cannot be made: {error.strerror}") from None

    def secrets(self) -> Secrets:
        """The folder's secrets, made if they are not there (once, whoever comes first); the environment wins."""
        kept = self._kept_secrets()
        return Secrets(
            secret_key=read_str("LLMOBS_SECRET_KEY", str(kept["secret_key"])),
            encryption_keys=_fernet_keys(read_list("LLMOBS_ENCRYPTION_KEYS", tuple(kept["encryption_keys"]))),
            journal_key=_journal_key(read_str("LLMOBS_JOURNAL_KEY", str(kept["journal_key"]))),
            postgres_password=str(kept["postgres_password"]),
            valkey_password=str(kept["valkey_password"]),
            admin_password=read_str("LLMOBS_ADMIN_PASSWORD", str(kept["admin_password"])),
        )

    def connections(self) -> Connections:
        """Addresses from the environment, else of the platform that runs here; raises EnvError when neither tells."""
        kept = _read_json(self.connections_file) if self.connections_file.exists() else {}
        database_url = database_url_from_env() or str(kept.get("database_url", ""))
        valkey_url = valkey_url_from_env() or str(kept.get("valkey_url", ""))
        if not database_url or not valkey_url:
            raise EnvError(
                f"no platform runs on {self.folder}: start it with `manage.py up --data {self.folder}`, "
                "or set DATABASE_URL and VALKEY_URL"
            )
        return Connections(
            database_url,
            valkey_url,
            int(kept.get("gateway_port", 4000)),
            int(kept.get("web_port", 8000)),
            kept.get("otlp_grpc_port"),
            kept.get("otlp_grpc_state_port"),
            web_database_url_from_env() if database_url_from_env() else str(kept.get("web_database_url", "")),
        )

    def keep_connections(self, connections: Connections) -> None:
        """Say where this folder's platform is reached (0600: the addresses hold passwords)."""
        replace_file(self.connections_file, json.dumps(asdict(connections), indent=1).encode())

    def _kept_secrets(self) -> dict[str, Any]:
        if not self.secrets_file.exists():
            self.make()
            _create_once(self.secrets_file, json.dumps(_new_secrets(), indent=1).encode())
        kept = _read_json(self.secrets_file)
        missing = _new_secrets().keys() - kept.keys()
        if missing:
            raise EnvError(f"{self.secrets_file} lacks {', '.join(sorted(missing))}: restore it from a copy")
        return kept


def database_url_from_env() -> str:
    """DATABASE_URL, "" when unset; raises EnvError if it is no address of a PostgreSQL."""
    return _postgresql_url("DATABASE_URL")


def read_database_url_from_env() -> str:
    """READ_DATABASE_URL, "" when unset: figures are read where everything is written, then. Raises EnvError."""
    return _postgresql_url("READ_DATABASE_URL")


def web_database_url_from_env() -> str:
    """WEB_DATABASE_URL, "" when unset: the web is the owner of the tables, then. Raises EnvError."""
    return _postgresql_url("WEB_DATABASE_URL")


def _postgresql_url(name: str) -> str:
    url = read_str(name)
    if url and not url.startswith(("postgresql://", "postgres://")):
        raise EnvError(f"{name} does not begin with postgresql:// (PostgreSQL is the only database)")
    return url


def valkey_url_from_env() -> str:
    """VALKEY_URL, else REDIS_URL, "" when unset; valkey:// is read as redis://."""
    name = "VALKEY_URL" if read_str("VALKEY_URL") else "REDIS_URL"
    url = read_str(name)
    if url.startswith(("valkey://", "valkeys://")):
        url = "redis" + url.removeprefix("valkey")
    if url and not url.startswith(("redis://", "rediss://", "unix://")):
        raise EnvError(f"{name} does not begin with redis://, rediss://, valkey:// or unix://")
    return url


def with_db(valkey_url: str, db: int) -> str:
    """The same Valkey, another of its numbered databases (`LEDGER_DB`, `BROKER_DB`, `CACHE_DB`)."""
    parts = urlsplit(valkey_url)
    if parts.scheme == "unix":
        query = {**dict(parse_qsl(parts.query)), "db": str(db)}
        return f"unix://{parts.netloc}{parts.path}?{urlencode(query)}"
    return urlunsplit((parts.scheme, parts.netloc, f"/{db}", parts.query, ""))


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file in one step, mode 0600: a reader sees the old or the new, never a part."""
    temporary = _write_beside(path, content)
    temporary.replace(path)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder outlast a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create_once(path: Path, content: bytes) -> None:
    """Make a file unless someone was quicker; a link fails where a rename would overwrite the first one's."""
    temporary = _write_beside(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def _write_beside(path: Path, content: bytes) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:  # a full disk is not filled with beginnings
        os.unlink(name)
        raise
    return Path(name)


def _new_secrets() -> dict[str, Any]:
    return {
        "secret_key": random.token_urlsafe(50),
        "encryption_keys": [base64.urlsafe_b64encode(random.token_bytes(32)).decode()],
        "journal_key": base64.b64encode(random.token_bytes(JOURNAL_KEY_BYTES)).decode(),
        "postgres_password": random.token_urlsafe(24),
        "valkey_password": random.token_urlsafe(24),
        "admin_password": random.token_urlsafe(12),
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise EnvError(
            f"{path} cannot be read as JSON: restore it from a copy, or remove it if it may be lost"
        ) from None
    if not isinstance(kept, dict):
        raise EnvError(f"{path} is not a JSON object")
    return kept


def _journal_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != JOURNAL_KEY_BYTES:
        raise EnvError("the journal key (LLMOBS_JOURNAL_KEY) is not 32 bytes in base64")
    return key


def _fernet_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    for number, key in enumerate(keys, 1):
        try:
            is_right = len(base64.urlsafe_b64decode(key)) == 32
        except (binascii.Error, ValueError):
            is_right = False
        if not is_right:
            raise EnvError(f"encryption key {number} (LLMOBS_ENCRYPTION_KEYS) is not 32 bytes in URL-safe base64")
    return keys

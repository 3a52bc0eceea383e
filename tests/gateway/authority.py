"""A private certificate authority, and a provider at the far end that has a certificate of it."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.gateway.far_end import read_request


class Authority:
    """Vouches for hosts; `certificate` is the file that its users trust."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._made = 0
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        made = self._builder(self._name, self._key.public_key()).add_extension(constraints, critical=True)
        self.certificate = folder / f"{name}.pem"
        self.certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def server(self, host: str) -> ssl.SSLContext:
        """The far end's side of TLS, with a certificate for the host."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        made = self._builder(subject, key.public_key()).add_extension(names, critical=False)
        self._made += 1
        file = self._folder / f"{self.certificate.stem}-{self._made}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )


@dataclass
class TlsFarEnd:
    """`seen`: the host that each handshake named, and the protocol that was agreed on."""

    port: int
    seen: list[tuple[str | None, str | None]] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


@contextmanager
def answering_tls(context: ssl.SSLContext, answer: bytes) -> Iterator[TlsFarEnd]:
    """Answers every request with these bytes, over TLS, and closes."""
    door = socket.create_server(("127.0.0.1", 0))
    far_end = TlsFarEnd(door.getsockname()[1])
    named: list[str | None] = [None]
    context.sni_callback = lambda _socket, name, _context: named.__setitem__(0, name)

    def serve() -> None:
        while True:
            try:
                plain, _ = door.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    far_end.seen.append((named[0], connection.selected_alpn_protocol()))
                    far_end.requests.append(read_request(connection))
                    connection.sendall(answer)
            except OSError:  # a client that does not trust it
                plain.close()

    thread = threading.Thread(target=serve, name="far end", daemon=True)
    thread.start()
    try:
        yield far_end
    finally:
        door.shutdown(socket.SHUT_RDWR)
        door.close()
        thread.join(5)

"""A certificate that the simulator signs itself, for providers reached by TLS."""

import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES, ADDRESSES = ("localhost",), ("127.0.0.1", "::1")
VALID = timedelta(days=30)
CLOCK_SKEW = timedelta(minutes=5)


def self_signed() -> tuple[ssl.SSLContext, str]:
    """A server's context, and the certificate as PEM: whoever trusts it as an authority trusts this server."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "llmobs simulator")])
    now = datetime.now(UTC)
    others = [*map(x509.DNSName, NAMES), *(x509.IPAddress(ip_address(one)) for one in ADDRESSES)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName(others), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return _context(secret + pem), pem.decode()


def _context(chain: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # ssl reads a chain from files alone; the folder is ours (0700) and gone at once.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chain.pem"
        file.write_bytes(chain)
        context.load_cert_chain(file)
    return context

"""Certificates that sign themselves, for servers of tests."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from isthmus.settings import TlsSettings


def write_pair(
    folder: Path, serial: int, *, cert: bool = True, key: bool = True, password: bytes = b""
) -> TlsSettings:
    """Put a certificate for `localhost`, or its key, or both, into `cert.pem` and `key.pem`."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    settings = TlsSettings(
        enabled=False, cert_file=folder / "cert.pem", key_file=folder / "key.pem"
    )
    if cert:
        _put(folder / "cert.pem", signed.public_bytes(serialization.Encoding.PEM))
    if key:
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password)
            if password
            else serialization.NoEncryption(),
        )
        _put(folder / "key.pem", pem)
    return settings.model_copy(update={"enabled": True})


def _put(path: Path, data: bytes) -> None:
    """As tools that renew certificates do: a new file in the place of the old one."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)

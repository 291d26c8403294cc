"""A certificate authority of a test: a root, one below it, and what they sign, well or badly."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Signed:
    """A certificate with its key and the chain above it, as files."""

    chain: Path
    leaf: Path
    key: Path


class Authority:
    """Signs for servers and clients; `root` is the file that others must trust."""

    def __init__(self, folder: Path, name: str = "Test Root") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._root_key, self._key = new_key(), new_key()
        self._root = _certificate(name, self._root_key, None, self._root_key, ca=True)
        self._middle = _certificate(f"{name} 2", self._key, self._root, self._root_key, ca=True)
        self.root = folder / "root.pem"
        self.root.write_bytes(_pem(self._root))

    def sign(
        self,
        label: str,
        names: Sequence[str] = ("localhost", "127.0.0.1"),
        days: int = 90,
        key: Key | None = None,
    ) -> Signed:
        """A certificate for these names that ends in so many days, or ended so many ago."""
        key = key or new_key()
        leaf = _certificate(label, key, self._middle, self._key, names=names, days=days)
        found = Signed(*(self._folder / f"{label}.{kind}.pem" for kind in ("chain", "leaf", "key")))
        found.leaf.write_bytes(_pem(leaf))
        found.chain.write_bytes(_pem(leaf) + _pem(self._middle))
        write_key(found.key, key)
        return found


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def write_key(path: Path, key: Key, password: bytes = b"") -> None:
    """Put a key into a file for its owner alone."""
    sealed = serialization.BestAvailableEncryption(password) if password else None
    path.touch(0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            sealed or serialization.NoEncryption(),
        )
    )


def _pem(one: x509.Certificate) -> bytes:
    return one.public_bytes(serialization.Encoding.PEM)


def _certificate(
    name: str,
    key: Key,
    above: x509.Certificate | None,
    signer: Key,
    *,
    ca: bool = False,
    names: Sequence[str] = (),
    days: int = 90,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if above is None else above.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 200 * _DAY)
        .not_valid_after(now + days * _DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if ca:
        usage = x509.KeyUsage(
            **dict.fromkeys(
                (
                    *("content_commitment", "key_encipherment", "data_encipherment"),
                    *("key_agreement", "encipher_only", "decipher_only"),
                ),
                False,
            ),
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
        )
        built = built.add_extension(usage, critical=True)
    if names:
        alternatives = x509.SubjectAlternativeName([_general(one) for one in names])
        built = built.add_extension(alternatives, critical=False)
    return built.sign(signer, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)

"""An authority made for one test, and the certificates that it signs."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Authority:
    """Files in a folder: `ca.pem`, and one for each certificate, with its key in it."""

    folder: Path
    name: x509.Name
    key: ec.EllipticCurvePrivateKey

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def hashed(self) -> Path:
        """A folder as OpenSSL looks through it: the certificate under the hash of its name."""
        folder = self.folder / "hashed"
        folder.mkdir()
        # The canonical form of a name of one lower-case part is its encoding without the frame.
        digest = sha1(self.name.public_bytes()[2:], usedforsecurity=False).digest()
        place = folder / f"{int.from_bytes(digest[:4], 'little'):08x}.0"
        place.write_bytes(self.file.read_bytes())
        return folder

    def issue(
        self, name: str, password: str = "", *, also: tuple[str, ...] = (), rsa_key: bool = False
    ) -> Path:
        """A certificate for a host, under other names `also`, or for a client."""
        key = rsa.generate_private_key(65537, 2048) if rsa_key else _new_key()
        signed = (
            _builder(_named(name), self.name, key)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(each) for each in (name, *also)]),
                critical=False,
            )
            .add_extension(_issuer(self.key), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        path = self.folder / f"{name}.pem"
        secret = (
            serialization.BestAvailableEncryption(password.encode())
            if password
            else serialization.NoEncryption()
        )
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, secret)
        path.write_bytes(private + signed.public_bytes(pem))
        return path

    def serving(self, name: str, *, asks_clients: bool = False) -> ssl.SSLContext:
        """What a server of this name takes to speak TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue(name))
        context.set_alpn_protocols(["h2", "http/1.1"])
        if asks_clients:
            context.load_verify_locations(self.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def authority(folder: Path, name: str = "a test's authority") -> Authority:
    """A new one."""
    key = _new_key()
    subject = _named(name)
    signed = (
        _builder(subject, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_SIGNS, critical=True)
        .add_extension(_issuer(key), critical=False)
        .sign(key, hashes.SHA256())
    )
    made = Authority(folder, subject, key)
    made.file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return made


def _issuer(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    # Newer Pythons check a chain strictly, and so want to be told by which key.
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )

"""What is wrong with a certificate, its key and its chain: pure but for reading the files."""

import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

SOON: Final = timedelta(days=14)
WEAK_HASHES: Final = frozenset({"md5", "sha1"})


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong: `file` is `cert_file` or `key_file`, `fatal` whether clients refuse it."""

    cause: str
    file: str
    mend: str
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its chain, and the file of its key."""

    cert_file: Path
    key_file: Path
    chain: tuple[x509.Certificate, ...]

    @property
    def leaf(self) -> x509.Certificate:
        """The server's own certificate."""
        return self.chain[0]

    @property
    def alone(self) -> bool:
        """Whether it signs itself, so that clients must know it already."""
        return self.leaf.issuer == self.leaf.subject

    @property
    def names(self) -> tuple[str, ...]:
        """The names and addresses that it is for."""
        try:
            found = self.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return ()
        dns = found.value.get_values_for_type(x509.DNSName)
        return (*dns, *map(str, found.value.get_values_for_type(x509.IPAddress)))


def read_pair(cert_file: Path, key_file: Path) -> Pair | Flaw:
    """Read both files. Blocking."""
    try:
        chain = x509.load_pem_x509_certificates(cert_file.read_bytes())
    except (OSError, ValueError) as error:
        return _unread(error, cert_file, "cert_file", "certificate")
    try:
        key = load_pem_private_key(key_file.read_bytes(), None)
    except TypeError:
        mend = f"openssl pkey -in {key_file} -out plain.pem && chmod 600 plain.pem"
        return Flaw(f"{key_file} is encrypted by a password", "key_file", mend)
    except (OSError, ValueError) as error:
        return _unread(error, key_file, "key_file", "private key")
    if key.public_key() == chain[0].public_key():
        return Pair(cert_file, key_file, tuple(chain))
    compare = f"openssl x509 -in {cert_file} -noout -pubkey; openssl pkey -in {key_file} -pubout"
    cause = f"{key_file} is not the key of the certificate in {cert_file}"
    return Flaw(cause, "key_file", f"name the files of one pair; compare: {compare}")


def _unread(error: OSError | ValueError, path: Path, name: str, what: str) -> Flaw:
    if isinstance(error, OSError):
        return Flaw(f"{path}: {error.strerror}", name, f"let this user read it: ls -l {path}")
    return Flaw(f"{path} holds no PEM {what}", name, f"name a file with the {what}, as PEM")


def flaws_of(pair: Pair, now: datetime) -> list[Flaw]:
    """What is wrong with the certificate itself."""
    leaf, found = pair.leaf, list[Flaw]()
    renew = "renew the certificate; the server takes it without a restart"
    for one in pair.chain:
        who = "the certificate" if one is leaf else f"`{_name(one)}` in the chain"
        if now > one.not_valid_after_utc:
            found.append(
                Flaw(f"{who} expired on {_day(one.not_valid_after_utc)}", "cert_file", renew)
            )
        elif now < one.not_valid_before_utc:
            cause = f"{who} is valid from {_day(one.not_valid_before_utc)}, which is yet to come"
            found.append(Flaw(cause, "cert_file", "set the clock, or wait"))
        elif now > one.not_valid_after_utc - SOON:
            cause = f"{who} expires on {_day(one.not_valid_after_utc)}"
            short = one.not_valid_after_utc - one.not_valid_before_utc <= SOON
            if not short:
                found.append(Flaw(cause, "cert_file", renew, fatal=False))
    weak = _weak(leaf)
    if weak:
        found.append(Flaw(weak, "cert_file", "have one made with RSA 2048 or P-256, and SHA-256"))
    if not pair.names:
        cause = "the certificate has no subjectAltName: clients no longer look at anything else"
        found.append(Flaw(cause, "cert_file", "have it made again with subjectAltName"))
    return found


def handshake_flaw(pair: Pair, trust: ssl.SSLContext, name: str) -> OSError | ValueError | None:
    """What a client that trusts `trust` says of this server under `name`; "" checks no name.

    Both ends are in memory: nothing listens. Blocking.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(pair.cert_file, pair.key_file, password=lambda: "")
    except (OSError, ValueError) as error:
        return error
    trust.check_hostname = bool(name)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = trust.wrap_bio(to_client, to_server, server_hostname=name or None)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(8):
            with suppress(ssl.SSLWantReadError):
                ours.do_handshake()
                return None
            with suppress(ssl.SSLWantReadError):
                theirs.do_handshake()
    except ssl.SSLError as error:
        return error
    return None


def matches(names: Sequence[str], host: str) -> bool:
    """Whether a certificate with these names is for this host."""
    wanted = host.lower().rstrip(".")
    rest = wanted.partition(".")[2]
    return any(one.lower() == wanted or (rest and one.lower() == f"*.{rest}") for one in names)


def _weak(leaf: x509.Certificate) -> str:
    key = leaf.public_key()
    if isinstance(key, RSAPublicKey) and key.key_size < 2048:
        return f"its RSA key has {key.key_size} bits, which clients refuse"
    if isinstance(key, EllipticCurvePublicKey) and key.key_size < 256:
        return f"its key on {key.curve.name} is too small"
    if isinstance(key, DSAPublicKey):
        return "DSA keys are refused"
    used = leaf.signature_hash_algorithm
    if used is not None and used.name in WEAK_HASHES:
        return f"it is signed with {used.name.upper()}, which clients refuse"
    return ""


def _name(one: x509.Certificate) -> str:
    return one.subject.rfc4514_string() or "a certificate"


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")

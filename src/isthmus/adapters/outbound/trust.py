"""Whom outbound calls trust, and which certificate of ours they show."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives import serialization

from isthmus.settings import OutboundSettings, SettingsError

_UNFIT = "outbound.client_cert_file: certificate, key and password do not fit together"


class Papers(NamedTuple):
    """What gRPC takes, PEM: authorities, our key, our certificate; None leaves it its own."""

    roots: bytes | None = None
    key: bytes | None = None
    chain: bytes | None = None

    def __repr__(self) -> str:
        return f"Papers(roots={self.roots is not None}, chain={self.chain is not None})"


def customised(limits: OutboundSettings) -> bool:
    """Whether files of the operator's are involved, which may be wrong."""
    return limits.ca_file is not None or limits.client_cert_file is not None


def authorities(limits: OutboundSettings) -> ssl.SSLContext:
    """A TLS context for any protocol. Reads files. Raises SettingsError naming what is wrong.

    OpenSSL itself looks at SSL_CERT_FILE and SSL_CERT_DIR for the system's certificates; `ca_file`
    is trusted beside them, or alone. Names and chains are always checked.
    """
    file, folder = _places(limits.ca_file)
    try:
        # Named here, they are trusted alone; loaded afterwards, beside the system's.
        if limits.ca_only:
            context = ssl.create_default_context(cafile=file, capath=folder)
        else:
            context = ssl.create_default_context()
            if limits.ca_file is not None:
                context.load_verify_locations(file, folder)
    except OSError as error:  # ssl.SSLError is one.
        raise SettingsError("outbound.ca_file: no certificate can be read from it") from error
    return context


def identified(limits: OutboundSettings) -> ssl.SSLContext:
    """As `authorities`, with our own certificate where one is set. Raises SettingsError."""
    context = authorities(limits)
    if limits.client_cert_file is not None:
        # Without a password OpenSSL would ask for one at the terminal.
        password = limits.client_key_password.get_secret_value()
        try:
            context.load_cert_chain(limits.client_cert_file, limits.client_key_file, password)
        except OSError as error:
            raise SettingsError(_UNFIT) from error
    return context


def trust(limits: OutboundSettings) -> ssl.SSLContext:
    """The TLS context of our own client: as `identified`, unless nothing is to be checked."""
    context = identified(limits)
    if not limits.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def papers(limits: OutboundSettings) -> Papers:
    """The same as `identified`, for gRPC. Reads files. Raises SettingsError."""
    roots = _roots(limits) if limits.ca_file is not None else None
    if limits.client_cert_file is None:
        return Papers(roots)
    chain = limits.client_cert_file.read_bytes()
    return Papers(roots, _plain_key(limits), chain)


def _plain_key(limits: OutboundSettings) -> bytes:
    """Our key without its password, of which gRPC knows nothing."""
    path = limits.client_key_file or limits.client_cert_file
    password = limits.client_key_password.get_secret_value().encode() or None
    try:
        key = serialization.load_pem_private_key(path.read_bytes() if path else b"", password)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(_UNFIT) from error
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _roots(limits: OutboundSettings) -> bytes:
    """A library that is given authorities forgets its own: the system's come with them."""
    context = authorities(limits)
    found = dict.fromkeys(map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(binary_form=True)))
    # OpenSSL opens the files of a folder only when it meets a certificate that needs one.
    for folder in _folders(limits):
        found |= dict.fromkeys(_certificates(folder))
    if not found:
        raise SettingsError("outbound.ca_file: no certificate can be read from it")
    return "".join(found).encode("ascii")


def _folders(limits: OutboundSettings) -> Iterator[Path]:
    folders = [limits.ca_file]
    if not limits.ca_only:
        folders += [Path(ssl.get_default_verify_paths().capath or ".")]
    return (each for each in folders if each is not None and each.is_dir() and each.is_absolute())


def _certificates(folder: Path) -> Iterator[str]:
    """Certificates that OpenSSL would find there: one or more in each file named by a hash."""
    for path in sorted(folder.glob("????????.[0-9]")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(path)
        except OSError:
            continue
        yield from map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(binary_form=True))


def _places(authority: Path | None) -> tuple[Path | None, Path | None]:
    """A file of certificates, or a folder where each stands under the hash of its name."""
    folder = authority is not None and authority.is_dir()
    return (None, authority) if folder else (authority, None)

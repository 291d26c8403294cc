"""Whom outbound calls trust, and which certificate of ours they show."""

import ssl
from pathlib import Path

from isthmus.settings import OutboundSettings, SettingsError


def customised(limits: OutboundSettings) -> bool:
    """Whether files of the operator's are involved, which may be wrong."""
    return limits.ca_file is not None or limits.client_cert_file is not None


def trust(limits: OutboundSettings) -> ssl.SSLContext:
    """The one TLS context. Reads files. Raises SettingsError naming the setting that is wrong.

    OpenSSL itself looks at SSL_CERT_FILE and SSL_CERT_DIR for the system's certificates; `ca_file`
    is trusted beside them, or alone.
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
    if not limits.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if limits.client_cert_file is not None:
        # Without a password OpenSSL would ask for one at the terminal.
        password = limits.client_key_password.get_secret_value()
        try:
            context.load_cert_chain(limits.client_cert_file, limits.client_key_file, password)
        except OSError as error:
            raise SettingsError(
                "outbound.client_cert_file: certificate, key and password do not fit together"
            ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _places(authority: Path | None) -> tuple[Path | None, Path | None]:
    """A file of certificates, or a folder where each stands under the hash of its name."""
    folder = authority is not None and authority.is_dir()
    return (None, authority) if folder else (authority, None)

"""A TLS client on a bare socket: what a listener agrees to, and what it says when it does not."""

import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What a client of HTTP/2 begins with: the preface, and settings that change nothing."""
LIMIT_S = 30.0


@dataclass(frozen=True)
class Seen:
    """An agreed connection; `heard` is the first of what the server said."""

    version: str | None
    cipher: str
    alpn: str | None
    serial: int
    heard: bytes


@dataclass(frozen=True)
class Visitor:
    """Trusts one authority. `certificate` holds its key too; the rest is as the test asks."""

    authority: Path
    certificate: Path | None = None
    version: ssl.TLSVersion | None = None
    ciphers: str = ""
    alpn: tuple[str, ...] = ()
    say: bytes = field(default=b"GET /monitoring/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")

    def context(self) -> ssl.SSLContext:
        """What the connection is made with."""
        made = ssl.create_default_context(cafile=self.authority)
        if self.ciphers:
            made.set_ciphers(self.ciphers)
        if self.version is not None:
            made.minimum_version, made.maximum_version = self.version, self.version
        if self.certificate is not None:
            made.load_cert_chain(self.certificate)
        if self.alpn:
            made.set_alpn_protocols(list(self.alpn))
        return made

    def shake(self, port: int) -> Seen:
        """Agree, say something and listen. Raises ssl.SSLError, ConnectionError."""
        with (
            socket.create_connection(("127.0.0.1", port), LIMIT_S) as plain,
            self.context().wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            tls.sendall(self.say)
            # A client of 1.3 that is refused learns it here.
            if not (heard := tls.recv(4096)):
                raise ConnectionResetError("it closed the connection")
            shown = tls.getpeercert(binary_form=True)
            cipher = tls.cipher()
            assert shown is not None
            assert cipher is not None
            serial = x509.load_der_x509_certificate(shown).serial_number
            return Seen(tls.version(), cipher[0], tls.selected_alpn_protocol(), serial, heard)

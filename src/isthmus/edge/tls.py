"""A listener's certificate, kept as its files are: a new one is used without a restart."""

import asyncio
import importlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from isthmus.core.beside import beside
from isthmus.core.events import CertificateLoaded, Noted
from isthmus.core.ports import Telemetry
from isthmus.settings import SettingsError, TlsSettings

LOOK_S = 5.0
"""Pause between two looks at the files."""
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of 1.3 are all good."""

_Stamp = tuple[tuple[int, int, int], ...]


_MODES = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


@dataclass(frozen=True, slots=True)
class Papers:
    """What a listener shows, PEM, and the authorities of its clients: None asks for nothing."""

    key: bytes = field(repr=False)
    chain: bytes
    clients: bytes | None = None


class CertificateFault(Exception):
    """The files do not hold a certificate and its key. The text never quotes them."""


class Certificate:
    """What connections are made with. Files that are bad never replace what was good.

    `context` serves new connections with the newest certificate; `papers` is the same as PEM.
    """

    def __init__(self, settings: TlsSettings) -> None:
        """Read the files, which blocks. Raises CertificateFault."""
        if settings.cert_file is None or settings.key_file is None:
            raise CertificateFault("a certificate and a key are needed")
        self._key, self._chain = settings.key_file, settings.cert_file
        self._mode = _MODES[settings.client_auth]
        self._clients = settings.client_ca_file if self._mode else None
        self._stamp = self._look()
        self.papers, self._newest = self._load()
        # Whether clients are asked is settled here; whom they are trusted by, in the newest.
        self.context = _context(self._mode)
        self.context.sni_callback = self._choose

    def renew(self) -> bool:
        """Read the files again if they have changed; whether they had. Blocks.

        Raises CertificateFault, and tries again the next time.
        """
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self.papers, self._newest = self._load()
        self._stamp = stamp
        return True

    async def keep(self, listener: str, telemetry: Telemetry, pause_s: float = LOOK_S) -> None:
        """Look at the files every `pause_s` until cancelled; news and faults are told once."""
        await self._tell_end(listener, telemetry)
        told = ""
        while True:
            await asyncio.sleep(pause_s)
            try:
                if await asyncio.to_thread(self.renew):
                    telemetry.emit(Noted("info", "A new TLS certificate is in use."))
                    await self._tell_end(listener, telemetry)
                told = ""
            except CertificateFault as fault:
                if str(fault) != told:
                    told = str(fault)
                    text = "A new TLS certificate cannot be used; the one before it stays."
                    telemetry.emit(Noted("error", text, (("reason", told),)))

    async def _tell_end(self, listener: str, telemetry: Telemetry) -> None:
        expiry = await asyncio.to_thread(importlib.import_module, "isthmus.edge.expiry")
        ends_at_s: float | None = await asyncio.to_thread(expiry.ends_at_s, self.papers.chain)
        if ends_at_s is not None:
            telemetry.emit(CertificateLoaded(listener, ends_at_s))

    def _look(self) -> _Stamp:
        files = (self._key, self._chain, *filter(None, (self._clients,)))
        try:
            states = [path.stat() for path in files]
        except OSError as error:
            raise CertificateFault(f"{error.filename}: {error.strerror}") from error
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in states)

    def _load(self) -> tuple[Papers, ssl.SSLContext]:
        key, chain, clients = self._key, self._chain, self._clients
        context = _context(self._mode)
        try:
            # A key with a password would have us wait for somebody at a terminal.
            context.load_cert_chain(chain, key, password=lambda: "")
            papers = Papers(key.read_bytes(), chain.read_bytes())
        except (OSError, ValueError) as error:
            raise CertificateFault(f"{chain} and {key} do not fit: {_reason(error)}") from error
        if clients is None:
            return papers, context
        try:
            context.load_verify_locations(clients)
            return replace(papers, clients=clients.read_bytes()), context
        except (OSError, ValueError) as error:
            raise CertificateFault(f"{clients} holds no certificate: {_reason(error)}") from error

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _first: object) -> None:
        connection.context = self._newest


@asynccontextmanager
async def open_certificate(
    settings: TlsSettings, name: str, telemetry: Telemetry, pause_s: float = LOOK_S
) -> AsyncIterator[Certificate | None]:
    """The certificate, kept fresh; None when TLS is off. Raises SettingsError under `name`."""
    if not settings.enabled:
        yield None
        return
    try:
        certificate = await asyncio.to_thread(Certificate, settings)
    except CertificateFault as fault:
        raise SettingsError(f"{name}: {fault}") from fault
    listener = name.partition(".")[0]
    async with beside(certificate.keep(listener, telemetry, pause_s)):
        yield certificate


class _Alerting(ssl.SSLObject):
    """A connection that says why it refuses: loops close one that fails before that is sent."""

    _failed = False

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if self._failed:
                raise
            self._failed = True
            # Whoever reads on writes first; the peer then leaves, or its time is up.
            raise ssl.SSLWantReadError from error


def _context(mode: ssl.VerifyMode) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    context.verify_mode = mode
    context.sslobject_class = _Alerting
    if mode:
        # Whoever resumes a session is not looked at again, though its authority may be gone.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


def _reason(error: Exception) -> str | None:
    return getattr(error, "reason", None) or getattr(error, "strerror", None)

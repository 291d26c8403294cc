"""TLS of the listener: which protocols it speaks, and certificates that change under it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from isthmus.core.events import CertificateLoaded, Noted
from isthmus.edge.tls import open_certificate
from isthmus.settings import SettingsError, TlsSettings
from tests.support.certificates import write_pair
from tests.support.sink import MemorySink

PAUSE_S = 0.01


@asynccontextmanager
async def listening(tls: TlsSettings, sink: MemorySink) -> AsyncIterator[int]:
    """A server that sends every line back; yields its port."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async with open_certificate(tls, "http.tls", sink, PAUSE_S) as certificate:
        assert certificate is not None
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=certificate.context)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()


class Visitor:
    """A client on a connection of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @property
    def tls(self) -> ssl.SSLObject:
        found = self._writer.get_extra_info("ssl_object")
        assert isinstance(found, ssl.SSLObject)
        return found

    @property
    def serial(self) -> int:
        """Serial number of the certificate that the server showed."""
        der = self.tls.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number

    async def lives(self) -> bool:
        self._writer.write(b"hello\n")
        return await self._reader.readline() == b"hello\n"

    def close(self) -> None:
        self._writer.close()


async def visit(port: int, *, name: str | None = "localhost", **changes: object) -> Visitor:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for attribute, value in changes.items():
        setattr(context, attribute, value)
    streams = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    return Visitor(*streams)


async def told(sink: MemorySink, count: int) -> list[Noted]:
    async with asyncio.timeout(10):
        while len(sink.of(Noted)) < count:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(PAUSE_S)
    return sink.of(Noted)


async def test_a_new_certificate_is_shown_to_new_connections_only(tmp_path: Path) -> None:
    sink = MemorySink()
    async with listening(write_pair(tmp_path, 1), sink) as port:
        old = await visit(port)
        assert (old.serial, await old.lives()) == (1, True)
        write_pair(tmp_path, 2)
        await told(sink, 1)
        for name in ("localhost", ""):
            new = await visit(port, name=name)
            assert (new.serial, await new.lives()) == (2, True)
            new.close()
        assert (old.serial, await old.lives()) == (1, True)
        old.close()
    assert sink.of(Noted)[-1].level == "info"


async def test_bad_files_are_told_once_and_replace_nothing(tmp_path: Path) -> None:
    sink = MemorySink()
    async with listening(write_pair(tmp_path, 1), sink) as port:
        write_pair(tmp_path, 2, key=False)
        (fault,) = (note for note in await told(sink, 1) if note.level == "error")
        assert "PRIVATE" not in str(fault)
        await asyncio.sleep(PAUSE_S * 20)
        errors = [note for note in sink.of(Noted) if note.level == "error"]
        assert errors == [fault]
        visitor = await visit(port)
        assert visitor.serial == 1
        visitor.close()
        write_pair(tmp_path, 3)
        async with asyncio.timeout(10):
            while sink.of(Noted)[-1].level != "info":  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(PAUSE_S)
        visitor = await visit(port)
        assert visitor.serial == 3
        visitor.close()
        (tmp_path / "key.pem").unlink()
        while sink.of(Noted)[-1].level != "error":  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(PAUSE_S)
        visitor = await visit(port)
        assert visitor.serial == 3
        visitor.close()


async def test_protocols_and_ciphers(tmp_path: Path) -> None:
    async with listening(write_pair(tmp_path, 1), MemorySink()) as port:
        for version, expected in (
            (ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
            (ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        ):
            visitor = await visit(port, minimum_version=version, maximum_version=version)
            assert visitor.tls.version() == expected
            cipher = visitor.tls.cipher()
            assert cipher is not None
            assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]
            visitor.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
async def test_old_protocols_and_weak_ciphers_are_refused(tmp_path: Path) -> None:
    async with listening(write_pair(tmp_path, 1), MemorySink()) as port:
        old = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await visit(port, minimum_version=old, maximum_version=old)


@pytest.mark.parametrize("content", [b"", b"not a certificate", b"\xff" * 10])
async def test_h11_71_files_that_hold_nothing_stop_the_start(
    tmp_path: Path, content: bytes
) -> None:
    tls = write_pair(tmp_path, 1)
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        async with open_certificate(tls, "http.tls", MemorySink()):
            pass
    (fault,) = caught.value.faults
    assert fault.startswith("http.tls: ")


async def test_a_key_with_a_password_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    tls = write_pair(tmp_path, 1)
    write_pair(tmp_path, 1, cert=False, password=b"secret")
    with pytest.raises(SettingsError):
        async with open_certificate(tls, "http.tls", MemorySink()):
            pass


async def test_without_tls_there_is_nothing_to_keep() -> None:
    async with open_certificate(TlsSettings(), "http.tls", MemorySink()) as certificate:
        assert certificate is None


async def test_it_is_told_when_each_certificate_ends(tmp_path: Path) -> None:
    sink = MemorySink()
    async with listening(write_pair(tmp_path, 1), sink):
        async with asyncio.timeout(30):
            for count in (1, 2):
                while len(sink.of(CertificateLoaded)) < count:  # noqa: ASYNC110 - a file has no event
                    await asyncio.sleep(PAUSE_S)
                write_pair(tmp_path, 2)
        facts = sink.of(CertificateLoaded)
        now_s = datetime.now(UTC).timestamp()
    assert {fact.listener for fact in facts} == {"http"}
    assert all(0 < fact.ends_at_s - now_s <= 3_600 for fact in facts)

"""The HTTP client over TLS: whom it trusts, and that it says HTTP/1.1."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from isthmus.adapters.outbound.client import open_client
from isthmus.core.errors import UpstreamUnreachable
from isthmus.settings import OutboundSettings
from tests.contract.outbound.rawserver import RealClock, answering, serving, within

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for `localhost` that signs itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def trusting(certificate: Path) -> OutboundSettings:
    return OutboundSettings(ca_file=certificate)


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def test_a_server_of_a_trusted_authority(
    certificate: Path, trusting: OutboundSettings
) -> None:
    async with (
        serving(answering(OK), server_context(certificate)) as server,
        open_client(trusting, RealClock()) as client,
    ):
        for _ in range(3):
            async with client.open(server.request(), within()) as reply:
                assert await reply.read(10) == b"hi"
        assert server.connections == 1


async def test_the_variable_of_openssl_names_an_authority(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with (
        serving(answering(OK), server_context(certificate)) as server,
        open_client(OutboundSettings(), RealClock()) as client,
        client.open(server.request(), within()) as reply,
    ):
        assert await reply.read(10) == b"hi"


async def test_a_server_that_nobody_vouches_for_gets_no_request(certificate: Path) -> None:
    async with (
        serving(answering(OK), server_context(certificate)) as server,
        open_client(OutboundSettings(), RealClock()) as client,
    ):
        with pytest.raises(UpstreamUnreachable) as raised:
            async with client.open(server.request(), within()):
                pass
        assert not raised.value.retryable
        assert server.requests == []


async def test_a_name_that_is_not_in_the_certificate(
    certificate: Path, trusting: OutboundSettings
) -> None:
    async with (
        serving(answering(OK), server_context(certificate)) as server,
        open_client(trusting, RealClock()) as client,
    ):
        request = server.request()
        elsewhere = type(request)("GET", request.url.replace("localhost", "ip6-localhost"))
        with pytest.raises(UpstreamUnreachable):
            async with client.open(elsewhere, within()):
                pass
        assert server.requests == []

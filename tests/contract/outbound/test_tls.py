"""The HTTP client over TLS: whom it trusts, what it shows, and that it says HTTP/1.1."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from isthmus.adapters.outbound.client import open_client
from isthmus.core.errors import UpstreamUnreachable
from isthmus.settings import OutboundSettings, SettingsError, load
from tests.contract.outbound.pki import Authority, authority
from tests.contract.outbound.rawserver import RawServer, RealClock, answering, serving, within

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
PASSWORD = "of-the-key"


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return authority(tmp_path)


@pytest.fixture
def trusting(ca: Authority) -> OutboundSettings:
    return OutboundSettings(ca_file=ca.file)


async def asked(server: RawServer, limits: OutboundSettings) -> bytes:
    async with (
        open_client(limits, RealClock()) as client,
        client.open(server.request(), within()) as reply,
    ):
        return await reply.read(10)


async def test_a_server_of_a_trusted_authority(ca: Authority, trusting: OutboundSettings) -> None:
    async with (
        serving(answering(OK), ca.serving("localhost")) as server,
        open_client(trusting, RealClock()) as client,
    ):
        for _ in range(3):
            async with client.open(server.request(), within()) as reply:
                assert await reply.read(10) == b"hi"
        assert server.connections == 1


@pytest.fixture
def limits(
    request: pytest.FixtureRequest, ca: Authority, monkeypatch: pytest.MonkeyPatch
) -> OutboundSettings:
    variables: dict[str, str] = request.param
    given = {
        name: value.format(file=ca.file, folder=ca.folder / "hashed")
        for name, value in variables.items()
    }
    ca.hashed()
    for name in {"SSL_CERT_FILE", "SSL_CERT_DIR"} & given.keys():
        monkeypatch.setenv(name, given[name])
    return load(environ=given).outbound


@pytest.mark.parametrize(
    "limits",
    [
        {"SSL_CERT_FILE": "{file}"},
        {"SSL_CERT_DIR": "{folder}"},
        {"REQUESTS_CA_BUNDLE": "{file}"},
        {"REQUESTS_CA_BUNDLE": "{folder}"},
        {"AIGW_MTLS__CA_BUNDLE": "{file}"},
        {"AIGW_MTLS__CA_BUNDLE": "{file}", "ISTHMUS_OUTBOUND__CA_ONLY": "true"},
        {"AIGW_MTLS__VERIFY": "false"},
    ],
    indirect=True,
    ids=lambda given: " ".join(f"{name}={value}" for name, value in given.items()),
)
async def test_ways_to_name_an_authority(ca: Authority, limits: OutboundSettings) -> None:
    async with serving(answering(OK), ca.serving("localhost")) as server:
        assert await asked(server, limits) == b"hi"


async def test_a_server_that_nobody_vouches_for_gets_no_request(ca: Authority) -> None:
    async with serving(answering(OK), ca.serving("localhost")) as server:
        with pytest.raises(UpstreamUnreachable) as raised:
            await asked(server, OutboundSettings())
        assert not raised.value.retryable
        assert server.requests == []


@pytest.fixture
def others(tmp_path: Path) -> OutboundSettings:
    (tmp_path / "other").mkdir()
    return OutboundSettings(ca_file=authority(tmp_path / "other").file, ca_only=True)


async def test_an_authority_that_is_trusted_alone(
    ca: Authority, others: OutboundSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.file))
    async with serving(answering(OK), ca.serving("localhost")) as server:
        with pytest.raises(UpstreamUnreachable):
            await asked(server, others)
        assert server.requests == []


async def test_a_name_that_is_not_in_the_certificate(
    ca: Authority, trusting: OutboundSettings
) -> None:
    async with serving(answering(OK), ca.serving("elsewhere")) as server:
        with pytest.raises(UpstreamUnreachable):
            await asked(server, trusting)
        assert server.requests == []


@pytest.fixture(params=["", PASSWORD], ids=["plain key", "encrypted key"])
def client_limits(request: pytest.FixtureRequest, ca: Authority) -> OutboundSettings:
    password: str = request.param
    return OutboundSettings(
        ca_file=ca.file,
        client_cert_file=ca.issue("us", password),
        client_key_password=SecretStr(password),
    )


async def test_a_server_that_asks_for_our_certificate(
    ca: Authority, client_limits: OutboundSettings, trusting: OutboundSettings
) -> None:
    async with serving(answering(OK), ca.serving("localhost", asks_clients=True)) as server:
        assert await asked(server, client_limits) == b"hi"
        with pytest.raises(UpstreamUnreachable):
            await asked(server, trusting)
        assert len(server.requests) == 1


def wrong_password(ca: Authority) -> OutboundSettings:
    wrong = SecretStr("not-it")
    certificate = ca.issue("us", PASSWORD)
    return OutboundSettings(client_cert_file=certificate, client_key_password=wrong)


def no_password(ca: Authority) -> OutboundSettings:
    return OutboundSettings(client_cert_file=ca.issue("us", PASSWORD))


def no_key(ca: Authority) -> OutboundSettings:
    return OutboundSettings(client_cert_file=ca.file)


def nonsense(ca: Authority) -> OutboundSettings:
    ca.file.write_text("nonsense")
    return OutboundSettings(ca_file=ca.file)


@pytest.fixture
def unusable(request: pytest.FixtureRequest, ca: Authority) -> OutboundSettings:
    make: Callable[[Authority], OutboundSettings] = request.param
    return make(ca)


@pytest.mark.parametrize("unusable", [wrong_password, no_password, no_key, nonsense], indirect=True)
async def test_files_that_cannot_be_used_are_told_at_the_start(unusable: OutboundSettings) -> None:
    with pytest.raises(SettingsError, match=r"^outbound\.(ca_file|client_cert_file): ") as raised:
        async with open_client(unusable, RealClock()):
            pass
    assert PASSWORD not in str(raised.value)
    assert "not-it" not in str(raised.value)

"""TLS of both listeners of the real server: what they agree to, whom they ask, and news of it."""

import shutil
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.contract.outbound.pki import Authority, authority
from tests.support.handshake import H2_PREFACE, Visitor
from tests.support.process import RunningServer, prepare, start

HTTP, GRPC = "http", "grpc"
ALERTS = {
    "protocol": {"TLSV1_ALERT_PROTOCOL_VERSION"},
    "cipher": {"SSLV3_ALERT_HANDSHAKE_FAILURE", "SSL_TLSEXT_ERR_NO_SHARED_CIPHER"},
    "nothing shown": {"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE"},
    "stranger": {
        *("TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_BAD_CERTIFICATE"),
        *("TLSV1_ALERT_DECRYPT_ERROR", "SSLV3_ALERT_CERTIFICATE_UNKNOWN"),
    },
}
CLOSED = "closed"
OLD = "ALL:@SECLEVEL=0"
"""A client that would still speak anything."""


@dataclass
class House:
    """A server with both listeners on TLS, whose files a test may change."""

    server: RunningServer
    ours: Authority
    folder: Path

    def port(self, listener: str) -> int:
        return self.server.http if listener == HTTP else self.server.grpc

    def visitor(self, listener: str, **changes: object) -> Visitor:
        """One who knows the authority; on gRPC it speaks HTTP/2."""
        speaks = {} if listener == HTTP else {"say": H2_PREFACE, "alpn": ("h2",)}
        return replace(Visitor(self.ours.file), **(speaks | changes))

    def put(self, name: str, source: Path) -> None:
        """A new file in the place of an old one, as tools that renew certificates do."""
        new = self.folder / f"{name}.new"
        shutil.copy(source, new)
        new.replace(self.folder / name)


def refusal(visitor: Visitor, port: int) -> str | None:
    """Why the server did not take it; None when it did."""
    try:
        visitor.shake(port)
    except ssl.SSLError as error:
        return error.reason
    except ConnectionError:
        return CLOSED
    return None


def refused(visitor: Visitor, here: House, listener: str, why: str) -> bool:
    """Whether it was, and was told so: HTTP says why, gRPC's library closes the connection."""
    told = refusal(visitor, here.port(listener))
    return told in (ALERTS[why] if listener == HTTP else {CLOSED, "UNEXPECTED_EOF_WHILE_READING"})


@contextmanager
def house(tmp_path: Path, **settings: str) -> Iterator[House]:
    """`settings` are those of TLS, for both listeners."""
    folder = tmp_path / "tls"
    folder.mkdir()
    ours = authority(tmp_path)
    given = {"enabled": "true", "cert_file": str(folder / "server.pem")}
    given |= {"key_file": str(folder / "server.pem")} | settings
    server = prepare(
        tmp_path,
        {
            f"ISTHMUS_{listener}__TLS__{name}".upper(): value
            for listener in (HTTP, GRPC)
            for name, value in given.items()
        },
    )
    found = House(server, ours, folder)
    found.put("server.pem", ours.issue("localhost", rsa_key=True))
    found.put("clients.pem", ours.file)
    client = ours.issue("a client") if settings else None
    server.context = Visitor(ours.file, client).context()
    server.context.check_hostname = False
    start(server)
    try:
        server.wait_for_sessions()
        yield found
    finally:
        server.stop()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Nobody is asked for a certificate."""
    with house(tmp_path_factory.mktemp("plain")) as found:
        yield found


@pytest.mark.parametrize("listener", [HTTP, GRPC])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_is_agreed(plain: House, listener: str, version: ssl.TLSVersion) -> None:
    offered = ("h2", "http/1.1")
    seen = plain.visitor(listener, version=version, alpn=offered).shake(plain.port(listener))
    assert seen.version == version.name.replace("_", ".")
    assert seen.alpn == ("http/1.1" if listener == HTTP else "h2")
    assert seen.heard.startswith(b"HTTP/1.1 200" if listener == HTTP else b"\0\0")
    assert seen.cipher.startswith("ECDHE-" if version is ssl.TLSVersion.TLSv1_2 else "TLS_")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize("listener", [HTTP, GRPC])
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_old_protocols_are_refused(plain: House, listener: str, version: str) -> None:
    old = plain.visitor(listener, version=ssl.TLSVersion[version], ciphers=OLD)
    assert refused(old, plain, listener, "protocol")


@pytest.mark.parametrize("listener", [HTTP, GRPC])
@pytest.mark.parametrize("ciphers", ["kRSA", "ECDHE+SHA1", "ECDHE+SHA384:!AESGCM", "DHE"])
def test_weak_ciphers_are_refused(plain: House, listener: str, ciphers: str) -> None:
    offered = f"{ciphers}:!aNULL:@SECLEVEL=0"
    weak = plain.visitor(listener, version=ssl.TLSVersion.TLSv1_2, ciphers=offered)
    assert refused(weak, plain, listener, "cipher")


def test_clients_are_asked_and_told_and_all_of_it_is_renewed(tmp_path: Path) -> None:
    clients = str(tmp_path / "tls" / "clients.pem")
    with house(tmp_path, client_auth="required", client_ca_file=clients) as here:
        (tmp_path / "other").mkdir()
        other = authority(tmp_path / "other", "another authority")
        known, stranger = here.ours.issue("a client"), other.issue("a stranger")
        serials: dict[str, int] = {}
        for listener in (HTTP, GRPC):
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                nobody = here.visitor(listener, version=version)
                assert refused(nobody, here, listener, "nothing shown")
                assert refused(replace(nobody, certificate=stranger), here, listener, "stranger")
                welcome = replace(nobody, certificate=known)
                serials[listener] = welcome.shake(here.port(listener)).serial
        here.put("clients.pem", other.file)
        here.put("server.pem", here.ours.issue("localhost"))
        for listener in (HTTP, GRPC):
            port = here.port(listener)
            welcome = here.visitor(listener, certificate=stranger)
            until_s = time.monotonic() + 60
            while refusal(welcome, port) is not None and time.monotonic() < until_s:
                time.sleep(0.2)
            assert welcome.shake(port).serial != serials[listener]
            assert refused(replace(welcome, certificate=known), here, listener, "stranger")
            assert refused(replace(welcome, certificate=None), here, listener, "nothing shown")


def test_over_http_a_certificate_may_be_left_to_the_client(tmp_path: Path) -> None:
    clients = str(tmp_path / "tls" / "clients.pem")
    (tmp_path / "other").mkdir()
    stranger = authority(tmp_path / "other", "another authority").issue("a stranger")
    with house(tmp_path, client_ca_file=clients) as here:
        assert refusal(here.visitor(HTTP, certificate=stranger), here.server.http) is None
        here.server.stop()
        here.server.environment["ISTHMUS_HTTP__TLS__CLIENT_AUTH"] = "optional"
        start(here.server)
        nobody = here.visitor(HTTP)
        assert refusal(nobody, here.server.http) is None
        assert refusal(replace(nobody, certificate=here.ours.issue("x")), here.server.http) is None
        told = refusal(replace(nobody, certificate=stranger), here.server.http)
        assert told in ALERTS["stranger"]

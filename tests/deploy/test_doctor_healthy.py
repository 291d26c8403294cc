"""Set-ups that are well: the doctor reports nothing. Those with a listener run the real server."""

import asyncio
import json
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.authority import Authority
from tests.support.doctor_stand import Examined, answering, examine, gitlab
from tests.support.fixtures_store import required
from tests.support.nginx import FRONT, nginx
from tests.support.postgres import fresh_schema, postgres_server
from tests.support.process import RunningServer, prepare, running_server, start
from tests.support.proxies import KINDS, Ahead, proxy
from tests.support.redis import redis_server
from tests.support.servers import Missing
from tests.support.tokens import payload, signed
from tests.support.vendor_stream import STREAM


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def well(seen: Examined, *names: str) -> bool:
    """Nothing is reported, and these were looked at and found well."""
    assert seen.found == [], seen.found
    assert seen.code == 0
    found = {one["name"] for one in seen.report["findings"] if one["verdict"] == "ok"}
    assert found >= {*names}, seen.text
    return True


def beside(server: RunningServer, *arguments: str) -> Examined:
    """The doctor with the settings of a server that runs."""
    given = {name: text for name, text in server.environment.items() if name[:7] == "ISTHMUS"}
    return examine(server.folder, given, *arguments)


def test_nothing_set_and_nothing_running(tmp_path: Path) -> None:
    assert well(examine(tmp_path, {}), "settings", "modes", "licence", "disk", "database")


def test_http_only(tmp_path: Path) -> None:
    with running_server(tmp_path, {"ISTHMUS_TRANSPORTS": "http"}) as server:
        assert well(beside(server), "listeners.http", "listeners.http_metrics", "running")


def test_both_listeners_and_a_proxy_in_front(tmp_path: Path, stack: ExitStack) -> None:
    settings = {"ISTHMUS_HTTP__TRUSTED_PROXIES": "127.0.0.1"}
    server = stack.enter_context(running_server(tmp_path, settings))
    server.wait_for_sessions()
    front = required(
        stack.enter_context(nginx(tmp_path / "nginx", FRONT, server.http, server.grpc))
    )
    seen = beside(server, "--via", front.http, "--via", front.grpc)
    assert well(seen, "listeners.grpc", "via.stream", "via.upgrade", "via.grpc", "via.forwarded")


def test_a_proxy_that_speaks_tls(tmp_path: Path, stack: ExitStack) -> None:
    authority = Authority(tmp_path / "ca")
    settings = {
        "ISTHMUS_HTTP__TRUSTED_PROXIES": "127.0.0.1",
        "ISTHMUS_OUTBOUND__CA_FILE": str(authority.root),
    }
    server = stack.enter_context(running_server(tmp_path, settings))
    server.wait_for_sessions()
    pair = authority.sign("front")
    opened = nginx(tmp_path / "nginx", FRONT, server.http, server.grpc, pair)
    front = required(stack.enter_context(opened))
    seen = beside(server, "--via", front.http, "--via", front.grpc)
    assert well(seen, "via.stream", "via.upgrade", "via.grpc", "via.forwarded")


@pytest.fixture(scope="module")
def ahead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Ahead]]:
    """A server that believes proxies of this machine, and what the shipped ones want."""
    folder = tmp_path_factory.mktemp("ahead")
    pair = Authority(folder).sign("front")
    copies = {"ca.crt": folder / "root.pem", "server.crt": pair.chain, "server.key": pair.key}
    for name, source in copies.items():
        (folder / name).write_bytes(source.read_bytes())
    settings = {
        "ISTHMUS_HTTP__TRUSTED_PROXIES": "127.0.0.1",
        "ISTHMUS_OUTBOUND__CA_FILE": str(folder / "ca.crt"),
    }
    with running_server(folder, settings) as server:
        server.wait_for_sessions()
        yield server, Ahead(server.http, server.grpc, False, folder)


@pytest.mark.parametrize("name", list(KINDS))
def test_the_proxies_that_are_shipped(
    name: str, ahead: tuple[RunningServer, Ahead], tmp_path: Path
) -> None:
    server, behind = ahead
    with proxy(name, behind, tmp_path / "proxy") as front:
        ways = f"https://localhost:{front.http}", f"grpcs://localhost:{front.grpc}"
        seen = beside(server, "--via", ways[0], "--via", ways[1])
    assert well(seen, "via.stream", "via.upgrade", "via.grpc", "via.forwarded")


def test_tls_on_both_listeners(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.sign("listener", ("ai.example", "localhost", "127.0.0.1"))
    settings = {
        "ISTHMUS_OUTBOUND__CA_FILE": str(authority.root),
        "ISTHMUS_INSTANCE__EXTERNAL_URL": "https://ai.example",
    }
    for listener in ("HTTP", "GRPC"):
        settings |= {
            f"ISTHMUS_{listener}__TLS__ENABLED": "true",
            f"ISTHMUS_{listener}__TLS__CERT_FILE": str(pair.chain),
            f"ISTHMUS_{listener}__TLS__KEY_FILE": str(pair.key),
        }
    with running_server(tmp_path, settings) as server:
        server.wait_for_sessions()
        names = "tls.http", "tls.grpc", "listeners.http", "listeners.grpc", "files.http_tls_key"
        assert well(beside(server), *names)


def test_clients_must_show_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.sign("listener")
    settings = {
        "ISTHMUS_TRANSPORTS": "http",
        "ISTHMUS_OUTBOUND__CA_FILE": str(authority.root),
        "ISTHMUS_HTTP__TLS__ENABLED": "true",
        "ISTHMUS_HTTP__TLS__CERT_FILE": str(pair.chain),
        "ISTHMUS_HTTP__TLS__KEY_FILE": str(pair.key),
        "ISTHMUS_HTTP__TLS__CLIENT_AUTH": "required",
        "ISTHMUS_HTTP__TLS__CLIENT_CA_FILE": str(authority.root),
    }
    server = prepare(tmp_path, settings)
    server.context = ssl.create_default_context(cafile=authority.root)
    server.context.load_cert_chain(pair.chain, pair.key)
    start(server)
    try:
        assert well(beside(server), "tls.http", "tls.http_clients", "listeners.http")
    finally:
        server.stop()


def test_a_key_that_a_container_engine_mounted(tmp_path: Path) -> None:
    """Read-only, and readable for everybody, as Kubernetes mounts secrets by default."""
    authority = Authority(tmp_path / "ca")
    pair = authority.sign("listener")
    pair.key.chmod(0o644)
    settings = {
        "ISTHMUS_OUTBOUND__CA_FILE": str(authority.root),
        "ISTHMUS_HTTP__TLS__ENABLED": "true",
        "ISTHMUS_HTTP__TLS__CERT_FILE": str(pair.chain),
        "ISTHMUS_HTTP__TLS__KEY_FILE": str(pair.key),
    }
    place = tmp_path / "ca"
    mount = f"mount --bind {place} {place} && mount -o remount,ro,bind {place}"
    prefix = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        required(Missing("no file system of its own for a test"))
    assert well(examine(tmp_path, settings, prefix=prefix), "files.http_tls_key")


def test_postgres(tmp_path: Path, stack: ExitStack) -> None:
    found = required(stack.enter_context(postgres_server()))

    async def migrated() -> Examined:
        from isthmus.adapters.stores.database import migrate_database

        async with fresh_schema(found) as url:
            await migrate_database(url, "all")
            return await asyncio.to_thread(examine, tmp_path, {"ISTHMUS_DATABASE__URL": url})

    assert well(asyncio.run(migrated()), "database")


def test_valkey(tmp_path: Path, stack: ExitStack) -> None:
    found = required(stack.enter_context(redis_server()))
    assert well(examine(tmp_path, {"ISTHMUS_LIMITS__URL": found.url}), "limits")


def test_an_issuer_whose_token_is_accepted(tmp_path: Path, stack: ExitStack) -> None:
    issuer = stack.enter_context(gitlab())
    now = int(time.time())
    token = signed(payload(iss=issuer.url, iat=now - 60, nbf=now - 60, exp=now + 3600))
    file = tmp_path / "token"
    file.write_text(token, encoding="ascii")
    # The second one is in every guide, and nothing here reads it.
    settings = {"AIGW_GITLAB_URL": issuer.url, "AIGW_GITLAB_API_URL": f"{issuer.url}/api/v4/"}
    seen = examine(tmp_path, settings, "--token-file", str(file))
    assert well(seen, "issuers", "token", "clock", "instance")
    assert token not in seen.text


def test_three_instances(tmp_path: Path, stack: ExitStack) -> None:
    urls = {name: stack.enter_context(gitlab()).url for name in ("one", "two", "three")}
    listed = {"instances": {name: {"url": url} for name, url in urls.items()}}
    (tmp_path / "isthmus.yml").write_text(json.dumps(listed), encoding="utf-8")
    now = int(time.time())
    token = signed(payload(iss=urls["two"], iat=now - 60, nbf=now - 60, exp=now + 3600))
    seen = examine(tmp_path, {}, "--token", token)
    assert well(seen, "issuers", "instance", "token")
    assert sum(one["name"] == "issuers" for one in seen.report["findings"]) == 3


def test_an_authority_of_ones_own(tmp_path: Path, stack: ExitStack) -> None:
    authority = Authority(tmp_path / "ca")
    issuer = stack.enter_context(gitlab(authority.sign("gitlab")))
    settings = {"AIGW_GITLAB_URL": issuer.url, "SSL_CERT_FILE": str(authority.root)}
    assert well(examine(tmp_path, settings), "issuers", "instance", "clock")


def test_a_client_certificate_and_a_model(tmp_path: Path, stack: ExitStack) -> None:
    authority = Authority(tmp_path / "ca")
    vendor = stack.enter_context(answering(authority.sign("vendor")))
    for path in ("/v1/chat/completions", "/v1/completions"):
        vendor.by_path[path] = 200, "text/event-stream", STREAM
    client = authority.sign("client", ())
    settings = {
        "OPENAI_API_KEY": "key-of-the-vendor",
        "ISTHMUS_PROVIDERS__OPENAI__BASE_URL": f"{vendor.url}/v1",
        "ISTHMUS_PROVIDERS__OPENAI__MODEL": "small",
        "AIGW_MTLS__CERT_FILE": str(client.chain),
        "AIGW_MTLS__KEY_FILE": str(client.key),
        "AIGW_MTLS__CA_BUNDLE": str(authority.root),
    }
    assert well(examine(tmp_path, settings), "models.openai", "tls.client", "egress")
    assert 1 <= len(vendor.asked) <= 2


def test_a_model_that_answers_with_no_single_token(tmp_path: Path, stack: ExitStack) -> None:
    vendor = stack.enter_context(answering())
    refusal = {"error": {"message": "max_output_tokens must be at least 16"}}
    for path in ("/v1/chat/completions", "/v1/completions"):
        vendor.put(path, refusal, 400)
    settings = {
        "ISTHMUS_PROVIDERS__OPENAI__BASE_URL": f"{vendor.url}/v1",
        "ISTHMUS_PROVIDERS__OPENAI__MODEL": "small",
    }
    assert well(examine(tmp_path, settings), "models.openai")


def test_offline(tmp_path: Path) -> None:
    settings = {"AIGW_CUSTOMER_PORTAL_URL": "", "AIGW_GITLAB_URL": ""}
    seen = examine(tmp_path, settings)
    assert well(seen, "licence", "egress")
    assert seen.report["took_s"] < 15

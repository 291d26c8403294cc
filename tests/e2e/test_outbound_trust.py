"""Operators' variables for proxies and trust, in the real process: key sets obey them too."""

import asyncio
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.contract.outbound.pki import authority
from tests.contract.outbound.rawserver import answering, serving
from tests.contract.outbound.test_proxy_tunnel import proxying
from tests.support.http_app import signing_key
from tests.support.process import RunningServer, running_server
from tests.support.tokens import headers_for, payload

NOTHING = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


def status_of(server: RunningServer, headers: dict[str, str]) -> int:
    asked = urllib.request.Request(f"{server.url}/v2/code/completions", b"{}", headers)  # noqa: S310 - our own URL
    try:
        with urllib.request.urlopen(asked, timeout=30) as reply:  # noqa: S310 - our own URL
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


async def test_keys_of_issuers_come_through_the_proxy_from_whom_the_bundle_vouches_for(
    tmp_path: Path,
) -> None:
    ca = authority(tmp_path)
    token = signing_key().sign(payload(), "a key that nobody knows yet")
    async with (
        serving(answering(NOTHING), ca.serving("gitlab.test")) as issuer,
        proxying(issuer) as proxy,
    ):
        settings = {
            "AIGW_GITLAB_URL": "https://gitlab.test",
            "REQUESTS_CA_BUNDLE": str(ca.file),
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}",
            "NO_PROXY": "customers.gitlab.com",
            "ISTHMUS_TRANSPORTS": "http",
        }

        def ask() -> int:
            with running_server(tmp_path, settings) as server:
                status = status_of(server, headers_for(token))
                # The keys are fetched beside the request, which does not wait for slow ones.
                for _ in range(100):
                    if issuer.requests:
                        break
                    time.sleep(0.1)
                return status

        assert await asyncio.to_thread(ask) == 401
        assert b"CONNECT gitlab.test:443 HTTP/1.1" in b"".join(proxy.heads)
        assert issuer.requests[0].startswith(b"GET /.well-known/openid-configuration ")


@pytest.mark.parametrize(("verify", "told"), [("false", True), ("true", False)])
def test_unchecked_certificates_are_told(tmp_path: Path, verify: str, *, told: bool) -> None:
    settings = {"AIGW_MTLS__VERIFY": verify, "ISTHMUS_TRANSPORTS": "http"}
    with running_server(tmp_path, settings) as server:
        server.stop()
        lines = [line for line in server.log.splitlines() if "outbound.verify" in line]
    assert len(lines) == told
    assert all('"warning"' in line and "are not checked" in line for line in lines)

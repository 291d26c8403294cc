"""The run line of the guide with nothing else set, and what else an operator may set."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.support.certificates import write_pair
from tests.support.container import Container, running
from tests.support.tokens import (
    claims_in,
    headers_for,
    jwk_of,
    payload,
    pem_of,
    private_key,
    signed,
    unb64,
)

ISSUER = "http://127.0.0.1:9080"
OURS = private_key("ours")
THEIRS = private_key("theirs")
KEY = "DUO_WORKFLOW_SELF_SIGNED_JWT__SIGNING_KEY"
GENERATE = """
import sys, grpc
from isthmus.contract import contract_pb2
from isthmus.contract.contract_pb2_grpc import DuoWorkflowStub
metadata = [line.split(": ", 1) for line in sys.stdin.read().splitlines()]
with grpc.insecure_channel("127.0.0.1:50052") as channel:
    request = contract_pb2.GenerateTokenRequest()
    print(DuoWorkflowStub(channel).GenerateToken(request, metadata=metadata, timeout=30).token)
"""


@contextmanager
def instance(container: Container, folder: Path) -> Iterator[None]:
    """A GitLab instance, as far as its keys go, where the container can reach it."""
    (folder / ".well-known").mkdir(parents=True)
    about = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
    (folder / ".well-known" / "openid-configuration").write_text(json.dumps(about), "utf-8")
    (folder / "keys").write_text(json.dumps({"keys": [jwk_of(THEIRS)]}), "utf-8")
    served = ["http.server", "9080", "--bind", "127.0.0.1", "--directory", str(folder)]
    process = subprocess.Popen(
        [*container.door, sys.executable, "-m", *served],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        container.wait_for(f"{ISSUER}/keys")
        yield
    finally:
        process.kill()
        process.wait()


def test_the_guides_line_works_with_nothing_else_set(tmp_path: Path) -> None:
    line = {
        "AIGW_GITLAB_URL": ISSUER,
        "AIGW_GITLAB_API_URL": f"{ISSUER}/api/v4/",
        KEY: pem_of(OURS),
    }
    with (
        running(tmp_path, line, options=("tmp", "writable")) as container,
        instance(container, tmp_path / "instance"),
    ):
        container.wait_for("http://127.0.0.1:5052/monitoring/ready")
        container.wait_for_text("Sessions are ready")
        now_s = int(time.time())
        scopes = ["complete_code", "duo_agent_platform", "duo_workflow_execute_workflow"]
        times = {"iat": now_s, "nbf": now_s - 60, "exp": now_s + 3600}
        audience = ["gitlab-ai-gateway", "gitlab-duo-workflow-service"]
        claims = payload(iss=ISSUER, aud=audience, scopes=scopes, **times)
        headers = headers_for(signed(claims, THEIRS))
        of_http = json.loads(_post(container, "/v1/code/user_access_token", headers))["token"]
        of_grpc = _generated(container, headers)
        # One key signs for both listeners.
        assert _signed_by_ours(of_http)
        assert _signed_by_ours(of_grpc)
        assert claims_in(of_http)["iss"] != claims_in(of_grpc)["iss"]
        assert container.run("isthmus", "health").returncode == 0
        assert container.stop() == 0


def test_a_key_in_a_file_and_one_listener_with_tls(tmp_path: Path) -> None:
    settings = {
        f"{KEY}_FILE": "/var/lib/isthmus/jwt.key",
        "DISABLE_AI_GATEWAY": "true",
        "DUO_WORKFLOW_TLS__ENABLED": "true",
        "DUO_WORKFLOW_TLS__CERT_FILE": "/var/lib/isthmus/cert.pem",
        "DUO_WORKFLOW_TLS__KEY_FILE": "/var/lib/isthmus/key.pem",
    }

    def mount(data: Path) -> None:
        (data / "jwt.key").write_text(pem_of(OURS), "utf-8")
        write_pair(data, 1)
        for path in data.iterdir():
            path.chmod(0o644)

    with running(tmp_path, settings, mount=mount) as container:
        container.wait_for_text("Sessions are ready")
        shown = container.run("isthmus", "config", "show").stdout
        assert f"platform_signing_key: '**********'  # file of variable {KEY}_FILE" in shown
        assert container.run("isthmus", "health").returncode == 0
        assert container.at_its_ports("curl", "-s", "http://127.0.0.1:5052/").returncode == 7
        asked = container.run("isthmus", "health", "--transports", "http,grpc")
        assert asked.returncode == 1
        assert asked.stderr.startswith("isthmus health: http: ")
        assert "grpc" not in asked.stderr
        assert container.stop() == 0


def test_options_without_a_command_are_the_servers(tmp_path: Path) -> None:
    with running(tmp_path, command=("--transports", "http")) as container:
        container.wait_for("http://127.0.0.1:5052/monitoring/healthz")
        assert "agent platform" not in container.out
        assert container.stop() == 0


def _post(container: Container, path: str, headers: dict[str, str]) -> str:
    words = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    url = f"http://127.0.0.1:5052{path}"
    done = container.at_its_ports("curl", "-sf", "-X", "POST", url, *words)
    assert done.returncode == 0, done.stdout + container.out
    return done.stdout


def _generated(container: Container, headers: dict[str, str]) -> str:
    done = subprocess.run(
        [*container.door, sys.executable, "-c", GENERATE],
        input="\n".join(f"{name}: {value}" for name, value in headers.items()),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr + container.out
    return done.stdout.strip()


def _signed_by_ours(token: str) -> bool:
    content, _, signature = token.rpartition(".")
    # Raises where it is not.
    OURS.public_key().verify(
        unb64(signature), content.encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    return True

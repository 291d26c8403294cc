"""The server under test: started as its user would, on one core, with everything switched on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import SERVER_CORE, free_port, wait_for_http, wait_for_port

SUBJECT = "bench"
SCOPES = (
    "complete_code",
    "generate_code",
    "ai_gateway_model_provider_proxy",
    "duo_chat",
    "generate_embeddings_codebase",
)


@dataclass(frozen=True, slots=True)
class Server:
    """A running Isthmus. `ready_s` is the time from process start to the first answer."""

    pid: int
    port: int
    grpc_port: int
    ready_s: float
    sessions_ready_s: float
    headers: dict[str, str]
    token: str


@contextmanager
def isthmus(
    folder: Path, *, transports: str = "http", extra: dict[str, str] | None = None
) -> Iterator[Server]:
    """Start Isthmus with access log and metrics on, RS256 tokens verified; stop it by SIGTERM."""
    http, grpc, http_metrics, grpc_metrics = (free_port() for _ in range(4))
    environment = dict(os.environ) | {
        "ISTHMUS_DATA_DIR": str(folder / "var"),
        "ISTHMUS_HTTP__PORT": str(http),
        "ISTHMUS_HTTP__METRICS_PORT": str(http_metrics),
        "ISTHMUS_GRPC__PORT": str(grpc),
        "ISTHMUS_GRPC__METRICS_PORT": str(grpc_metrics),
        "ISTHMUS_LOGGING__FILE": str(folder / "isthmus.log"),
        "ISTHMUS_TRANSPORTS": transports,
    }
    environment |= extra or {}
    program = str(Path(sys.executable).with_name("isthmus"))
    begin = time.monotonic()
    process = subprocess.Popen(
        ["taskset", "-c", str(SERVER_CORE), program, "server"],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for_http(f"http://127.0.0.1:{http}/monitoring/ready")
        ready_s = time.monotonic() - begin
        sessions_ready_s = 0.0
        if "grpc" in transports:
            wait_for_port(grpc)
            sessions_ready_s = time.monotonic() - begin
        token = mint(program, environment)
        yield Server(
            process.pid, http, grpc, ready_s, sessions_ready_s, authenticated(token), token
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def mint(program: str, environment: dict[str, str]) -> str:
    """A token as a person would get it."""
    command = [program, "token", "--subject", SUBJECT]
    for scope in SCOPES:
        command += ["--scope", scope]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def authenticated(token: str) -> dict[str, str]:
    """Headers that a client sends with this token."""
    return {
        "authorization": f"Bearer {token}",
        "x-gitlab-authentication-type": "oidc",
        "x-gitlab-instance-id": SUBJECT,
        "x-gitlab-unit-primitive": "ai_gateway_model_provider_proxy",
        "content-type": "application/json",
    }


def command(folder: Path, *words: str, extra: dict[str, str] | None = None) -> str:
    """What a command of ours prints, run beside the server of this folder."""
    program = str(Path(sys.executable).with_name("isthmus"))
    environment = dict(os.environ) | {"ISTHMUS_DATA_DIR": str(folder / "var")} | (extra or {})
    done = subprocess.run(
        [program, *words], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()

"""A Redis or Valkey for tests."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.ports import answers, free_port
from tests.support.servers import Missing, Server, running, scratch

PORT = 6379


@contextmanager
def redis_server() -> Iterator[Server | Missing]:
    """The server at 127.0.0.1:6379, else one of our own, else the reason for none."""
    if _is_redis(PORT):
        yield Server(f"redis://127.0.0.1:{PORT}/15")
        return
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        yield Missing("no Redis or Valkey at 127.0.0.1:6379, and neither is installed")
        return
    port = free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (
        scratch("is-redis-") as directory,
        running([program, *arguments], port, directory) as up,
    ):
        if up:
            yield Server(f"redis://127.0.0.1:{port}/0")
        else:
            yield Missing(f"{program} did not start")


def _is_redis(port: int) -> bool:
    if not answers(port):
        return False
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as peer:
            peer.sendall(b"PING\r\n")
            return peer.recv(16).startswith(b"+PONG")
    except OSError:
        return False

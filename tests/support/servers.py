"""A server that tests talk to: one that runs already, one of our own, or the reason for none."""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import answers

START_S = 30.0
NO_SERVER = "no server: "


@dataclass(frozen=True)
class Server:
    """Where a server answers."""

    url: str


@dataclass(frozen=True)
class Missing:
    """No server is to be had, and why."""

    reason: str


@contextmanager
def running(command: Sequence[str], port: int, directory: Path) -> Iterator[bool]:
    """Run a server until the end of the block; tells whether its port answered in time."""
    log = directory / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=directory,
            start_new_session=True,
        )
        try:
            yield _wait(process, port)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A short-named directory: the path of a Unix socket in it must stay under 108 bytes."""
    with tempfile.TemporaryDirectory(prefix=prefix, dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _wait(process: "subprocess.Popen[bytes]", port: int) -> bool:
    give_up_s = time.monotonic() + START_S
    while time.monotonic() < give_up_s and process.poll() is None:
        if answers(port):
            return True
        time.sleep(0.05)
    return False

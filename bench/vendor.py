"""Mock models whose answers take time, each in a process of its own on the callers' core."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import uvloop

from bench.machine import CLIENT_CORE, free_port, wait_for_port


class Vendor(asyncio.Protocol):
    """Reads requests, and answers each as `asked` does."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's by what they do, not by descent.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, end, body = self._seen.partition(b"\r\n\r\n")
        if not end:
            return
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if len(body) >= int(length or b"0"):
            self._seen = b""
            self.asked()

    def asked(self) -> None:
        """A whole request is here."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """A piece of the answer, for who is still there."""
        if not self._transport.is_closing():
            self._transport.write(data)


@contextmanager
def beside(module: str) -> Iterator[int]:
    """Run a module that calls `serve`; yields its port."""
    port = free_port()
    command = ["taskset", "-c", str(CLIENT_CORE), sys.executable, "-m", module, "model", str(port)]
    process = subprocess.Popen(command)
    try:
        wait_for_port(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def serve(kind: type[Vendor], port: int) -> None:
    """Answer on a port until the process is ended."""

    async def forever() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(kind, "127.0.0.1", port, backlog=4096)
        await server.serve_forever()

    uvloop.run(forever())

"""TLS in front of a server that speaks none, whatever it speaks otherwise."""

import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

POSTGRES = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""With this a client of PostgreSQL asks for TLS; the answer is an S."""
LOOK_S = 0.1


@dataclass
class Terminator:
    """Where it listens, and how many connections agreed on TLS, or did not."""

    port: int = 0
    agreed: int = 0
    refused: int = 0

    def has_refused(self, limit_s: float = 30.0) -> bool:
        """Whether it did: a client may know before we do."""
        until_s = time.monotonic() + limit_s
        while not self.refused and time.monotonic() < until_s:
            time.sleep(0.02)
        return self.refused > 0


@contextmanager
def terminated(port: int, context: ssl.SSLContext, asks: bytes = b"") -> Iterator[Terminator]:
    """TLS to a server of this machine; `asks` is what clients say in the clear first."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(LOOK_S)
        door = _Door(Terminator(listening.getsockname()[1]), port, context, asks)
        thread = threading.Thread(target=door.serve, args=(listening,))
        thread.start()
        try:
            yield door.told
        finally:
            door.end.set()
            thread.join()


@dataclass
class _Door:
    told: Terminator
    port: int
    context: ssl.SSLContext
    asks: bytes
    end: threading.Event = field(default_factory=threading.Event)

    def serve(self, listening: socket.socket) -> None:
        guests: list[threading.Thread] = []
        while not self.end.is_set():
            with suppress(TimeoutError):
                guest, _ = listening.accept()
                guests.append(threading.Thread(target=self._let_in, args=(guest,)))
                guests[-1].start()
        for each in guests:
            each.join()

    def _let_in(self, guest: socket.socket) -> None:
        with guest, suppress(OSError):
            guest.settimeout(30)
            if self.asks:
                assert guest.recv(len(self.asks), socket.MSG_WAITALL) == self.asks
                guest.sendall(b"S")
            try:
                tls = self.context.wrap_socket(guest, server_side=True)
            except OSError:
                self.told.refused += 1
                return
            self.told.agreed += 1
            with tls, socket.create_connection(("127.0.0.1", self.port)) as far:
                self._pass_on(tls, far)

    def _pass_on(self, tls: ssl.SSLSocket, far: socket.socket) -> None:
        """One thread for both ways: a connection of OpenSSL is for one at a time."""
        while not self.end.is_set():
            waiting = [] if tls.pending() else select.select([tls, far], [], [], LOOK_S)[0]
            if tls.pending() or tls in waiting:
                if not (data := tls.recv(65_536)):
                    return
                far.sendall(data)
            if far in waiting:
                if not (data := far.recv(65_536)):
                    return
                tls.sendall(data)

"""A TCP proxy whose network can be cut: connections break, and new ones are refused meanwhile.

Or those who called lose their connections, and whom they called hears nothing of it.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Network:
    """Forwards `port` to `target` while it is whole."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._callers: set[socket.socket] = set()
        self._stranded: set[socket.socket] = set()
        self._whole = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.connections = 0

    def cut(self) -> None:
        """Break everything, until `mend`."""
        with self._lock:
            self._whole = False
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def strand(self) -> None:
        """Break what callers hold; the other ends stay open, and silent."""
        with self._lock:
            self._stranded |= self._open
            for end in self._callers:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._callers.clear()

    def lead_to(self, target: int) -> None:
        """Where new connections go, as a balancer would have it."""
        self._target = target

    def mend(self) -> None:
        """Let connections through again."""
        with self._lock:
            self._whole = True

    def serve(self) -> None:
        """Accept until closed."""
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._join(near)

    def close(self) -> None:
        """End it all."""
        self.cut()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _join(self, near: socket.socket) -> None:
        with self._lock:
            whole = self._whole
        if not whole:
            near.close()
            return
        try:
            far = socket.create_connection(("127.0.0.1", self._target), 5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        with self._lock:
            self._open |= {near, far}
            self._callers.add(near)
            self.connections += 1
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                try:
                    sink.sendall(data)
                except OSError:
                    # What is sent to nobody is lost, and that is not told either.
                    if source not in self._stranded:
                        raise
        with self._lock:
            ends = [source] if source in self._stranded else [source, sink]
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()


@contextmanager
def network(target: int) -> Iterator[Network]:
    """A proxy to a port of this machine, until the end of the block."""
    made = Network(target)
    thread = threading.Thread(target=made.serve)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join()

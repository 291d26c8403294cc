"""A transport that sends the head of an answer together with the first piece of its body."""

import asyncio
from typing import Any

HEAD = b"HTTP/1."
JOIN_LIMIT_BYTES = 65_536


class Cork(asyncio.Transport):
    """Stands before the transport of a server's connection.

    A server writes the head and then the body: two system calls and two packets. Here the head
    waits for what is written next, or for the end of this turn of the loop; both leave at once.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._head = b""
        self._loop = asyncio.get_running_loop()

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        """Send, or hold a head back."""
        head = self._head
        if head:
            self._head = b""
            if len(data) <= JOIN_LIMIT_BYTES:
                self._transport.write(b"".join((head, data)))
                return
            self._transport.write(head)
        elif bytes(data[:7]) == HEAD:
            self._head = bytes(data)
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def send(self, data: bytes) -> None:
        """Send at once, behind what is held back."""
        self._flush()
        self._transport.write(data)

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        """Send what is held back, then close."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._head = b""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether the connection closes or is closed."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport knows, such as the peer's address."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Let the peer wait."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._transport.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection over."""
        self._transport.set_protocol(protocol)

"""Ports: which are free, and which answer."""

import itertools
import random
import socket

LOWEST, HIGHEST = 10_000, 32_000
"""Below the ports that a kernel hands to clients: one of those may be in use by the time that a
server binds it, even where nothing listens on it."""
_ports = itertools.cycle(range(LOWEST, HIGHEST))
# Test runners that start together must not hand out the same ones.
_next = itertools.islice(_ports, random.SystemRandom().randrange(HIGHEST - LOWEST), None)


def free_port() -> int:
    """A port that nobody uses and that this process has not named lately."""
    while True:
        port = next(_next)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def free_ports(count: int) -> list[int]:
    """Several of them; none twice."""
    return [free_port() for _ in range(count)]


def answers(port: int) -> bool:
    """Whether anything accepts connections on this port of the loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True

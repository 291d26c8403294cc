"""Who listens on a port of this machine, and whether we could. Blocking, all of it."""

import errno
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Final

CONNECT_S: Final = 2.0
_LISTENING: Final = "0A"
_ANY: Final = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound here


def near(host: str) -> str:
    """The address by which this machine reaches a listener of its own on `host`."""
    return _ANY.get(host, host)


def joined(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def accepts(host: str, port: int) -> bool:
    """Whether anything accepts connections there."""
    try:
        socket.create_connection((near(host), port), CONNECT_S).close()
    except OSError:
        return False
    return True


def refusal(host: str, port: int) -> str:
    """Why we could not listen there; empty when we could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            if error.errno == errno.EACCES:
                return "this user may not listen on a port below 1024"
            if error.errno == errno.EADDRNOTAVAIL:
                return f"{host} is no address of this machine"
            return error.strerror or "it cannot be listened on"
    return ""


def owner(port: int) -> str:
    """The program that listens on a port, as `nginx (process 71)`; empty when that is not told."""
    inodes = {f"socket:[{inode}]" for inode in _inodes(port)}
    if not inodes:
        return ""
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            for descriptor in folder.iterdir():
                with suppress(OSError):
                    if str(descriptor.readlink()) in inodes:
                        name = (folder.parent / "comm").read_text(encoding="utf-8").strip()
                        return f"{name} (process {folder.parent.name})"
    return ""


def served(host: str, port: int, protocols: list[str]) -> tuple[bytes, str]:
    """The certificate that is shown there, as DER, and the protocol that is agreed on.

    Raises OSError. Nothing is sent beyond the handshake, so nothing is trusted.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(protocols)
    with (
        socket.create_connection((near(host), port), CONNECT_S) as plain,
        context.wrap_socket(plain) as secure,
    ):
        return secure.getpeercert(binary_form=True) or b"", secure.selected_alpn_protocol() or ""


def _inodes(port: int) -> list[str]:
    found: list[str] = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                cells = line.split()
                local = int(cells[1].rpartition(":")[2], 16)
                if local == port and cells[3] == _LISTENING:
                    found.append(cells[9])
    return found

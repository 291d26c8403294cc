"""`isthmus health`: whether the server on this machine answers, for health checks of containers."""

import argparse
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from isthmus.settings import GrpcSettings, HttpSettings, Settings

LIMIT_S = 5.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - not listened on
# RFC 9113, sections 3.4 and 4.1: what a client begins with, and the type of the answer's frame.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
SETTINGS_FRAME = 4


def add(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",  # pyright: ignore[reportPrivateUsage] - argparse has no public name for it
) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    parser = subparsers.add_parser(
        "health",
        help="tell whether the server here answers",
        description="Exit with 0 when every listener of the settings answers on this machine, "
        "else with 1. Certificates are not checked: it is a question whether anybody is at home.",
    )
    parser.add_argument("--transports", metavar="LIST", help="as the server's")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Ask each listener. Returns 0, or 1 with a line for each that does not answer."""
    del args
    asked: dict[str, Callable[[], str]] = {
        "http": lambda: _http(settings.http),
        "grpc": lambda: _grpc(settings.grpc),
    }
    wrong = {name: ask() for name, ask in asked.items() if name in settings.transports}
    for name, reason in wrong.items():
        if reason:
            sys.stderr.write(f"isthmus health: {name}: {reason}\n")
    return 1 if any(wrong.values()) else 0


def _http(settings: HttpSettings) -> str:
    where = (ANYWHERE.get(settings.host, settings.host), settings.port)
    connection = (
        HTTPSConnection(*where, timeout=LIMIT_S, context=_unchecked())
        if settings.tls.enabled
        else HTTPConnection(*where, timeout=LIMIT_S)
    )
    try:
        with closing(connection):
            connection.request("GET", "/monitoring/healthz")
            status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        return _reason(error)
    return "" if status == 200 else f"status {status}"


def _grpc(settings: GrpcSettings) -> str:
    where = (ANYWHERE.get(settings.host, settings.host), settings.port)
    try:
        with socket.create_connection(where, LIMIT_S) as plain:
            if not settings.tls.enabled:
                return _greeted(plain)
            context = _unchecked()
            context.set_alpn_protocols(["h2"])
            with context.wrap_socket(plain) as secured:
                return _greeted(secured)
    except OSError as error:
        return _reason(error)


def _greeted(connection: socket.socket) -> str:
    connection.sendall(GREETING)
    head = b""
    while len(head) < 9 and (more := connection.recv(9 - len(head))):
        head += more
    return "" if head[3:4] == bytes([SETTINGS_FRAME]) else "no HTTP/2 is spoken there"


def _reason(error: Exception) -> str:
    """Why nobody answered; nothing when it answered that it wants a certificate of the client."""
    if isinstance(error, ssl.SSLError) and "CERTIFICATE_REQUIRED" in str(error.reason):
        return ""
    return str(error) or type(error).__name__


def _unchecked() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

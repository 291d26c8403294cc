"""Addresses of platforms: read, and refused where a token would travel in the clear. Pure."""

from dataclasses import dataclass
from urllib.parse import urlsplit

_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class BadAddress(ValueError):
    """An address is not one that this executor can call; the text says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """A platform's `host:port`, and whether the connection is encrypted."""

    target: str
    secure: bool
    local: bool


def is_local(host: str | None) -> bool:
    """Whether a host's name is this machine's own."""
    return host in _LOCAL


def address_of(url: str, *, in_the_clear: bool = False) -> Address:
    """Read `grpc://host:port` or, encrypted, `grpcs://host:port`. Raises BadAddress.

    Without encryption only this machine is called, as the token would be read on the way, unless
    who configured the address said that it is to be `in_the_clear`.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"grpc", "grpcs"} or not parts.hostname or parts.path not in {"", "/"}:
        raise BadAddress("the address must look like grpc://127.0.0.1:50052 or grpcs://host:443")
    try:
        port = parts.port
    except ValueError as error:
        raise BadAddress("the address holds no valid port") from error
    if port is None or parts.username is not None or parts.query or parts.fragment:
        raise BadAddress("the address must be a host and a port, and nothing else")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    local = is_local(parts.hostname)
    if parts.scheme == "grpc" and not local and not in_the_clear:
        raise BadAddress("grpc:// is not encrypted and only for this machine; use grpcs://")
    return Address(f"{host}:{port}", parts.scheme == "grpcs", local)

"""Where a request goes and what it looks like on the wire: pure, and closed to injection."""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from msgspec import Struct

from isthmus.core.errors import MisconfiguredProvider, Rejected

_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_PATH = re.compile(r"/[\x21-\x7e]*")
_METHOD = re.compile(r"[A-Z]{1,16}")
_OURS = frozenset({"host", "connection", "content-length", "transfer-encoding", "upgrade", "te"})


class Origin(Struct, frozen=True, cache_hash=True):
    """One pool of connections."""

    tls: bool
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart; `host_header` as it stands on the wire."""

    origin: Origin
    host_header: str
    path: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request's head but for its length, and where to send it."""

    origin: Origin
    head: bytes
    sized: bool

    def head_of(self, body: bytes) -> bytes:
        """Request line and headers for this body."""
        if body or self.sized:
            return b"%bcontent-length: %d\r\n\r\n" % (self.head, len(body))
        return self.head + b"\r\n"


def target_of(url: str) -> Target:
    """Take an absolute `http` or `https` URL apart. Raises MisconfiguredProvider."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise MisconfiguredProvider("A provider's URL cannot be read.") from error
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not host or not host.isascii():
        raise MisconfiguredProvider("A provider's URL must be http or https, with a host.")
    if parts.username is not None or parts.password is not None:
        raise MisconfiguredProvider("A provider's URL must not hold a user name or password.")
    tls = parts.scheme == "https"
    path = parts.path or "/"
    if parts.query:
        path = f"{path}?{parts.query}"
    if not _PATH.fullmatch(path):
        raise MisconfiguredProvider("A provider's URL holds a character that must be escaped.")
    usual = 443 if tls else 80
    bracketed = f"[{host}]" if ":" in host else host
    header = bracketed if port in {None, usual} else f"{bracketed}:{port}"
    return Target(Origin(tls, host, usual if port is None else port), header, path)


@lru_cache(maxsize=512)
def prepare(method: str, url: str, headers: tuple[tuple[str, str], ...]) -> Prepared:
    """Everything but the body's length, checked; most calls of a provider need the same.

    Raises Rejected for a header that cannot stand on a wire, MisconfiguredProvider for the URL.
    """
    if not _METHOD.fullmatch(method):
        raise Rejected("The request's method is not valid.")
    target = target_of(url)
    lines = [f"{method} {target.path} HTTP/1.1\r\nhost: {target.host_header}\r\n"]
    for name, value in headers:
        if not _NAME.fullmatch(name) or name in _OURS:
            raise Rejected("A request header has a name that may not be sent.")
        if not _VALUE.fullmatch(value):
            raise Rejected("A request header holds a character that may not be sent.")
        lines.append(f"{name}: {value}\r\n")
    head = "".join(lines).encode("latin-1")
    return Prepared(target.origin, head, sized=method in {"POST", "PUT", "PATCH"})

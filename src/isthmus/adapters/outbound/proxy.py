"""Which calls go through an HTTP proxy: pure."""

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import unquote, urlsplit

from isthmus.adapters.outbound.target import Origin, target_of
from isthmus.settings import OutboundSettings, SettingsError

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where it listens, and the value of `proxy-authorization` ("" for none)."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)


def proxy_of(url: str) -> Proxy | None:
    """Read `[http://][user:password@]host[:port]`; None when it is empty. Raises SettingsError."""
    if not url.strip():
        return None
    try:
        parts = urlsplit(url.strip() if "://" in url else f"http://{url.strip()}")
        host, port = parts.hostname or "", parts.port
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        credentials = f"{user}:{password}".encode()
    except ValueError:
        raise SettingsError("outbound.proxy_url: must be a URL") from None
    if parts.scheme != "http" or not host or not host.isascii():
        raise SettingsError("outbound.proxy_url: must be `http://HOST:PORT`")
    authorization = f"Basic {b64encode(credentials).decode()}" if user else ""
    return Proxy(host, 80 if port is None else port, authorization)


def proxy_for(limits: OutboundSettings, url: str) -> str:
    """The proxy's URL, for a library that calls `url` itself; "" when it is called directly."""
    proxy, origin = limits.proxy_url.get_secret_value().strip(), target_of(url).origin
    if not proxy or not origin.tls or NoProxy(limits.no_proxy).covers(origin):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


class NoProxy:
    """The targets that are called directly. Those of this machine always are.

    An entry is `*`, a domain (which covers the names below it, with or without a leading dot), an
    address or a network in CIDR form; domains and addresses may end with a port.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._all = False
        self._networks: list[Network] = [
            ip_network("127.0.0.0/8"),
            ip_network("::1/128"),
        ]
        self._names: list[tuple[str, int | None]] = [("localhost", None)]
        for entry in entries:
            self._add(entry.strip().lower())

    def covers(self, origin: Origin) -> bool:
        """Whether this target is called directly."""
        if self._all:
            return True
        host = origin.host.lower().rstrip(".")
        if any(
            port in {None, origin.port} and (host == name or host.endswith(f".{name}"))
            for name, port in self._names
        ):
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def _add(self, entry: str) -> None:
        if entry == "*":
            self._all = True
            return
        try:
            self._networks.append(ip_network(entry, strict=False))
        except ValueError:
            pass  # No address: a name, or something with a port.
        else:
            return
        name, colon, port = entry.rpartition(":")
        if not colon or not port.isdecimal():
            name, port = entry, ""
        name = name.strip("[]").removeprefix("*").strip(".")
        if name:
            self._names.append((name, int(port) if port else None))

"""Why an outbound call failed, in words that name what to change."""

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from isthmus.core.errors import Failure, UpstreamTimeout

UNREADABLE: Final = "an address that cannot be read"
_UNKNOWN_CA: Final = frozenset({2, 18, 19, 20, 21})
_EXPIRED: Final = frozenset({9, 10})
_WRONG_NAME: Final = frozenset({62, 64})


@dataclass(frozen=True, slots=True)
class Reason:
    """A cause, the setting that it points at, and what helps."""

    cause: str
    setting: str
    mend: str


def place_of(url: str) -> str:
    """`host:port` of a URL, without what else may stand in it."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "wss": 443, "grpcs": 443}.get(parts.scheme, 80)
    except ValueError:
        return UNREADABLE
    return f"{parts.hostname}:{port}" if parts.hostname else UNREADABLE


def reason_of(error: BaseException, url: str, setting: str) -> Reason:
    """What kept a call of `url`, which `setting` names, from being answered."""
    where = place_of(url)
    if where == UNREADABLE:
        return Reason(
            "the address cannot be read", setting, f"set {setting} to http(s)://HOST/PATH"
        )
    for cause in _causes(error):
        found = _known(cause, where, url, setting)
        if found is not None:
            return found
    said = error.detail if isinstance(error, Failure) else type(error).__name__
    if "made no tunnel" in said:
        mend = f"allow {where} there, or add it to outbound.no_proxy"
        return Reason(f"{where}: {said}", "outbound.proxy_url", mend)
    mend = f"see to that server, or correct {setting} ({_curl(url, where)})"
    return Reason(f"{where}: {said}", setting, mend)


def _known(cause: BaseException, where: str, url: str, setting: str) -> Reason | None:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return certificate_reason(cause, where, setting)
    if isinstance(cause, ssl.SSLError):
        text = f"{where} and we do not agree on TLS ({cause.reason or 'broken off'})"
        mend = f"correct {setting}: another port, or http? (openssl s_client -connect {where})"
        return Reason(text, setting, mend)
    if isinstance(cause, socket.gaierror):
        host = where.rpartition(":")[0]
        mend = f"correct {setting}, or have the name known (getent hosts {host})"
        return Reason(f"no name server knows {host}", setting, mend)
    if isinstance(cause, TimeoutError | UpstreamTimeout):
        text = f"{where} did not answer in time: a firewall, or a proxy that is not set"
        mend = f"open the way there, set outbound.proxy_url, or correct {setting}"
        return Reason(text, setting, f"{mend} ({_curl(url, where)})")
    if isinstance(cause, OSError):
        mend = f"start what should answer there, or correct {setting} ({_curl(url, where)})"
        return Reason(_refused(cause, where), setting, mend)
    return None


def certificate_reason(error: ssl.SSLCertVerificationError, where: str, setting: str) -> Reason:
    """Why the certificate of a server is not trusted."""
    code = error.verify_code
    if code in _UNKNOWN_CA:
        text = f"the certificate of {where} is signed by an authority that is not trusted here"
        mend = f"set outbound.ca_file to that authority's PEM ({error.verify_message})"
        return Reason(text, "outbound.ca_file", mend)
    if code in _EXPIRED:
        text = f"the certificate of {where} is not valid now: {error.verify_message}"
        return Reason(text, setting, "renew it there, or set this machine's clock")
    if code in _WRONG_NAME:
        text = f"the certificate of {where} is for another name"
        return Reason(text, setting, "use the name that the certificate bears, or have it renewed")
    return Reason(
        f"the certificate of {where} is refused: {error.verify_message}",
        setting,
        f"openssl s_client -showcerts -connect {where}",
    )


def scheme_of(url: str) -> str:
    """The scheme of a URL; empty when it cannot be read."""
    return url.partition("://")[0] if "://" in url else ""


def _refused(error: OSError, where: str) -> str:
    refused = error.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(error)
    if refused:
        return f"nothing listens at {where}"
    if isinstance(error, ConnectionResetError):
        return f"{where} closed the connection"
    return f"{where} cannot be reached ({error.strerror or type(error).__name__})"


def _curl(url: str, where: str) -> str:
    return f"curl -v --max-time 10 {scheme_of(url) or 'https'}://{where}/"


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__

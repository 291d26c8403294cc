"""AWS Signature Version 4: pure.

Source: AWS IAM User Guide, "Create a signed AWS API request".
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl, quote, urlsplit

from isthmus.adapters.providers._spec import Headers
from isthmus.core.messages import OutboundRequest

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key; `session_token` comes with temporary ones."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a signature counts."""

    region: str
    service: str

    def on(self, day: str) -> str:
        """The scope of one day, as `20150830/us-east-1/iam/aws4_request`."""
        return f"{day}/{self.region}/{self.service}/aws4_request"


def sign(request: OutboundRequest, own: Credentials, scope: Scope, now: datetime) -> Headers:
    """The headers to add, `now` being UTC. Every header of `request` is signed, and its host."""
    at = now.strftime("%Y%m%dT%H%M%SZ")
    added = [("x-amz-date", at)]
    if own.session_token:
        added.append(("x-amz-security-token", own.session_token))
    headers = (("host", _host(request.url)), *request.headers, *added)
    signed = ";".join(sorted({name for name, _ in headers}))
    text = canonical(request, headers)
    credential = f"{own.access_key_id}/{scope.on(at[:8])}"
    value = (
        f"{ALGORITHM} Credential={credential}, SignedHeaders={signed}, "
        f"Signature={signature(text, own.secret_access_key, scope, at)}"
    )
    return (*added, ("authorization", value))


def canonical(request: OutboundRequest, headers: Headers) -> str:
    """The request as both sides write it down before they sign; names are in lower case."""
    parts = urlsplit(request.url)
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(" ".join(value.split()))
    names = sorted(values)
    return "\n".join(
        (
            request.method,
            # Escaped once more: only S3 signs a path as it is sent.
            quote(parts.path or "/", safe="/~"),
            _query(parts.query),
            *(f"{name}:{','.join(values[name])}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(request.body).hexdigest(),
        )
    )


def signature(canonical_request: str, secret: str, scope: Scope, at: str) -> str:
    """The signature of a canonical request; `at` is its `x-amz-date`."""
    day = at[:8]
    hashed = hashlib.sha256(canonical_request.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in (day, scope.region, scope.service, "aws4_request"):
        key = _mac(key, part)
    return _mac(key, "\n".join((ALGORITHM, at, scope.on(day), hashed))).hex()


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _query(query: str) -> str:
    pairs: Iterable[tuple[str, str]] = parse_qsl(query, keep_blank_values=True)
    escaped = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in escaped)


def _host(url: str) -> str:
    """As our client writes it on the wire: without the port that goes without saying."""
    parts = urlsplit(url)
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return host if parts.port in {None, usual} else f"{host}:{parts.port}"

"""One issuer's published keys: discovery, fetching, and what of a key set is accepted.

Source: OpenID Connect Discovery 1.0, section 4; RFC 7517; HTTP gateway contract, section 2.6.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast
from urllib.parse import SplitResult, urlsplit

from isthmus.auth.strict import Malformed, decode_base64url, decode_object
from isthmus.auth.verify import strong
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Failure
from isthmus.core.events import KeysRefreshed
from isthmus.core.messages import OutboundRequest
from isthmus.core.ports import Clock, Outbound, Telemetry, VerificationKey

ANSWER_LIMIT_BYTES = 256 * 1024
KEY_LIMIT = 32
KID_LIMIT_CHARS = 256
URL_LIMIT_CHARS = 2048
UNKNOWN_KID_PAUSE_S = 60.0
RETRY_FIRST_S = 5.0
RETRY_LAST_S = 300.0
FRESH_SHARE = 0.8
STALE_AGES = 7.0
"""Keys of an issuer that stays down are used for this many times their age limit, no longer."""


@dataclass(frozen=True, slots=True)
class Fetching:
    """What every issuer needs to fetch: the client, and how long keys and calls may last."""

    outbound: Outbound
    clock: Clock
    telemetry: Telemetry
    max_age_s: float = 86_400.0
    timeout_s: float = 10.0


class Issuer:
    """The keys of one issuer.

    `run` alone fetches, so callers that need keys at the same moment share one fetch, and a caller
    that leaves does not end it. Keys are refreshed before they are too old; while the issuer is
    down the last ones stay in use.
    """

    def __init__(self, url: str, fetching: Fetching) -> None:
        self._discovery = discovery_url(url)
        self._url = url
        self._fetching = fetching
        self._keys: tuple[VerificationKey, ...] = ()
        self._fetched_at_s = float("-inf")
        self._tried_at_s = float("-inf")
        self._failures = 0
        self._wanted = asyncio.Event()
        self._attempt: asyncio.Future[None] | None = None
        self._closed = False
        self.tried = False
        """Whether a first fetch has ended, well or not."""

    def held(self) -> Sequence[VerificationKey]:
        """The keys at hand, without waiting; none once they are far too old."""
        age_s = self._fetching.clock.now_s() - self._fetched_at_s
        return self._keys if age_s <= self._fetching.max_age_s * STALE_AGES else ()

    async def seek(self) -> None:
        """Have the keys fetched, unless they were tried within the last minute, and wait for it.

        The first fetch of all is waited for however often this is called.
        """
        recent = self._fetching.clock.now_s() - self._tried_at_s < UNKNOWN_KID_PAUSE_S
        if self._closed or (recent and self._attempt is None):
            return
        if self._attempt is None:
            self._attempt = asyncio.get_running_loop().create_future()
        self._wanted.set()
        await asyncio.shield(self._attempt)

    async def run(self) -> None:
        """Fetch now, before the keys grow old, and whenever asked to; ends when cancelled."""
        try:
            while True:
                await self._refresh()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.pause_s()):
                        await self._wanted.wait()
        finally:
            self._closed = True
            self._settle()

    def pause_s(self) -> float:
        """Seconds until the next fetch that nobody asked for; grows while fetching fails."""
        fresh_s = self._fetching.max_age_s * FRESH_SHARE
        if self._failures == 0:
            return fresh_s
        exponent = min(self._failures - 1, 16)
        return min(RETRY_FIRST_S * 2.0**exponent, RETRY_LAST_S, fresh_s)

    async def _refresh(self) -> None:
        if self._attempt is None:
            self._attempt = asyncio.get_running_loop().create_future()
        self._tried_at_s = self._fetching.clock.now_s()
        error = ""
        try:
            self._keys = await self.fetch()
            self._fetched_at_s = self._fetching.clock.now_s()
            self._failures = 0
        except (Failure, Malformed) as failure:
            error = str(failure)
            self._failures += 1
        self._fetching.telemetry.emit(KeysRefreshed(self._url, len(self.held()), error))
        self._settle()

    def _settle(self) -> None:
        self.tried = True
        # Whoever asked while the fetch was under way has been served by it.
        self._wanted.clear()
        attempt, self._attempt = self._attempt, None
        if attempt is not None and not attempt.done():
            attempt.set_result(None)

    async def fetch(self) -> tuple[VerificationKey, ...]:
        """What the issuer publishes now. Raises Failure, or Malformed for what cannot be used."""
        document = await self._read(self._discovery)
        jwks_url = _jwks_url(document, self._discovery)
        keys = parse_jwks(await self._read(jwks_url))
        if not keys:
            raise Malformed("the key set holds no usable RSA signing key")
        return keys

    async def _read(self, url: str) -> dict[str, object]:
        limit_s = self._fetching.timeout_s
        deadline = Deadline(
            at_s=self._fetching.clock.now_s() + limit_s,
            connect_s=limit_s,
            first_byte_s=limit_s,
            between_bytes_s=limit_s,
        )
        headers = (("accept", "application/json"), ("accept-encoding", "identity"))
        request = OutboundRequest("GET", url, headers)
        async with self._fetching.outbound.open(request, deadline) as reply:
            if reply.status != 200:
                raise Malformed(f"answered with status {reply.status}")
            return decode_object(await reply.read(ANSWER_LIMIT_BYTES))


def discovery_url(issuer: str) -> str:
    """Where an issuer describes itself; its relative URL root, if it has one, is kept.

    Raises ValueError unless `issuer` is an http(s) URL with a host and without credentials.
    """
    try:
        parts = _web(issuer)
    except Malformed as error:
        raise ValueError(f"an issuer must be a plain http(s) URL: {error}") from error
    if parts.query or parts.fragment:
        raise ValueError("an issuer must be a plain http(s) URL: it has a query or a fragment")
    return issuer.rstrip("/") + "/.well-known/openid-configuration"


def parse_jwks(document: Mapping[str, object]) -> tuple[VerificationKey, ...]:
    """The RSA signing keys of a key set that are strong enough; at most KEY_LIMIT of them.

    Others are left out: unknown kinds must not spoil a set (RFC 7517, section 5). Raises Malformed
    when the document is not a key set.
    """
    members = document.get("keys")
    if not isinstance(members, list):
        raise Malformed("the key set has no list of keys")
    found: list[VerificationKey] = []
    for member in cast("list[object]", members):
        key = _rsa_key(cast("Mapping[str, object]", member)) if isinstance(member, dict) else None
        if key is not None:
            found.append(key)
        if len(found) == KEY_LIMIT:
            break
    return tuple(found)


def _rsa_key(jwk: Mapping[str, object]) -> VerificationKey | None:
    kid = jwk.get("kid", "")
    operations = jwk.get("key_ops", ["verify"])
    usable = (
        jwk.get("kty") == "RSA"
        and jwk.get("use", "sig") == "sig"
        and jwk.get("alg", "RS256") == "RS256"
        and isinstance(operations, list)
        and "verify" in operations
        and "d" not in jwk  # a private key that was published is everybody's key
    )
    if not usable or not isinstance(kid, str) or len(kid) > KID_LIMIT_CHARS:
        return None
    try:
        n, e = _number(jwk.get("n")), _number(jwk.get("e"))
    except Malformed:
        return None
    return VerificationKey(kid, n, e) if strong(n, e) else None


def _number(value: object) -> int:
    if not isinstance(value, str) or len(value) > 2048:
        raise Malformed("not a number")
    # Some issuers pad with a zero byte, which base64urlUInt forbids; the number is the same.
    return int.from_bytes(decode_base64url(value), "big")


def _jwks_url(document: Mapping[str, object], discovery: str) -> str:
    value = document.get("jwks_uri")
    if not isinstance(value, str):
        raise Malformed("the discovery document names no jwks_uri")
    parts = _web(value)
    if parts.scheme == "http" and discovery.startswith("https:"):
        raise Malformed("jwks_uri leaves https")
    return value


def _web(url: str) -> SplitResult:
    """The parts of an http(s) URL that may be called. Raises Malformed."""
    if len(url) > URL_LIMIT_CHARS or not url.isascii() or not url.isprintable() or " " in url:
        raise Malformed("not a URL")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:
        raise Malformed("not a URL") from error
    if not usable or "@" in parts.netloc:
        raise Malformed("not an http(s) URL with a host and no credentials")
    return parts

"""Google's access tokens: got with a service account's key or a user's refresh token.

Sources: Google Identity, "Using OAuth 2.0 for server to server applications"; RFC 7523; RFC 6749.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from isthmus.adapters.providers._spec import Headers
from isthmus.adapters.providers.dialects.failure import failed, unreadable
from isthmus.auth.issue import SigningKey, UnusableKey
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Failure, MisconfiguredProvider, UpstreamTimeout
from isthmus.core.messages import OutboundRequest
from isthmus.core.ports import Clock, Outbound

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_S = 3600
LIFE_LIMIT_S = 12 * 3600.0
AHEAD_S = 300.0
"""How long before its end a token is renewed, while it still serves everybody else."""
FETCH_S = 10.0
PAUSE_S = 1.0
"""How long a failure is the answer to everybody, before Google is asked again."""
KEEP_S = 30.0
"""The same while there still is a token to go on with."""
REPLY_LIMIT_BYTES = 64 * 1024

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_CODE = re.compile(r"[a-z_]{1,64}")
_REFUSED = frozenset({400, 401, 403})

Grant = Callable[[int], Mapping[str, str]]


class UnusableCredential(ValueError):
    """A credential file is not one of those that can be used here; the text never quotes it."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Where tokens are got, and the form that asks for one at a time (epoch seconds)."""

    token_url: str
    grant: Grant = field(repr=False)


class _File(Struct):
    type: str = ""
    token_uri: str = TOKEN_URL
    client_email: str = ""
    private_key: str = ""
    private_key_id: str | None = None
    client_id: str = ""
    client_secret: str = ""
    refresh_token: str = ""


class _Token(Struct):
    access_token: str
    expires_in: float = ASSERTION_S


class _Refusal(Struct):
    error: str = ""


def read_credential(text: str | bytes, token_url: str = "") -> Credential:
    """A service account's key or an authorized user's file. Raises UnusableCredential.

    `token_url` replaces the file's own address.
    """
    try:
        told = msgspec.json.decode(text, type=_File)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise UnusableCredential("not the JSON of a Google credential") from None
    match told.type:
        case "service_account" if told.client_email:
            grant = _service_account(told)
        case "authorized_user" if told.refresh_token:
            grant = _authorized_user(told)
        case _:
            raise UnusableCredential("neither a service account's key nor a user's refresh token")
    return Credential(token_url or told.token_uri, grant)


def _service_account(told: _File) -> Grant:
    try:
        key = SigningKey.from_pem(told.private_key)
    except UnusableKey as error:
        raise UnusableCredential(f"its private key: {error}") from None

    def grant(now_s: int) -> Mapping[str, str]:
        claims = {
            "iss": told.client_email,
            "scope": SCOPE,
            "aud": told.token_uri,
            "iat": now_s,
            "exp": now_s + ASSERTION_S,
        }
        return {"grant_type": GRANT, "assertion": key.sign(claims, told.private_key_id)}

    return grant


def _authorized_user(told: _File) -> Grant:
    form = {
        "grant_type": "refresh_token",
        "client_id": told.client_id,
        "client_secret": told.client_secret,
        "refresh_token": told.refresh_token,
    }
    return lambda _: form


class GoogleToken:
    """Implements `Signer`. One fetch at a time; while a token is good, only one caller renews it.

    A key of the caller's own goes out as an API key.
    """

    def __init__(self, credential: Credential | None, outbound: Outbound, clock: Clock) -> None:
        self._credential = credential
        self._outbound = outbound
        self._clock = clock
        self._turn = asyncio.Lock()
        self._held: Headers = ()
        self._ask_at_s = self._ends_at_s = float("-inf")
        self._failure: Failure | None = None

    @property
    def stale(self) -> bool:
        """Whether there is no token, or it is old and nobody fetches another one."""
        now_s = self._clock.now_s()
        return now_s >= self._ends_at_s or (now_s >= self._ask_at_s and not self._turn.locked())

    async def renew(self, deadline: Deadline) -> None:
        """Fetch a token, unless another caller has just done it.

        Raises MisconfiguredProvider when Google refuses the credential, and UpstreamFailed or
        UpstreamTimeout as Outbound does; not while the token that there is still serves.
        """
        async with self._turn:
            now_s = self._clock.now_s()
            if now_s >= self._ask_at_s:
                await self._try(now_s, deadline)
            if now_s >= self._ends_at_s and self._failure is not None:
                raise self._failure.with_traceback(None)

    def headers(self, _method: str, _url: str, _body: bytes, api_key: str, /) -> Headers:
        """The token, or the caller's key."""
        return (("x-goog-api-key", api_key),) if api_key else self._held

    async def _try(self, now_s: float, deadline: Deadline) -> None:
        try:
            token = await self._fetch(now_s, deadline)
        except UpstreamTimeout as timeout:
            # The limit was this caller's own; the next one may have more time.
            self._failure, self._ask_at_s = timeout, now_s
        except Failure as failure:
            self._failure = failure
            self._ask_at_s = now_s + (PAUSE_S if now_s >= self._ends_at_s else KEEP_S)
        else:
            lives_s = min(max(0.0, token.expires_in), LIFE_LIMIT_S)
            self._failure = None
            self._ask_at_s = now_s + max(lives_s - AHEAD_S, lives_s / 2)
            self._ends_at_s = now_s + lives_s
            self._held = (("authorization", f"Bearer {token.access_token}"),)

    async def _fetch(self, now_s: float, deadline: Deadline) -> _Token:
        if self._credential is None:
            raise MisconfiguredProvider("API key not found")
        grant = self._credential.grant(int(self._clock.utc().timestamp()))
        request = OutboundRequest(
            "POST",
            self._credential.token_url,
            (
                ("content-type", "application/x-www-form-urlencoded"),
                ("accept", "application/json"),
                ("accept-encoding", "identity"),
            ),
            urlencode(grant).encode(),
        )
        within = Deadline(
            min(deadline.at_s, now_s + FETCH_S),
            deadline.connect_s,
            deadline.first_byte_s,
            deadline.between_bytes_s,
        )
        async with self._outbound.open(request, within) as reply:
            body = await reply.read(REPLY_LIMIT_BYTES)
        if reply.status != 200:
            raise _refusal(reply.status, reply.headers, body)
        try:
            token = msgspec.json.decode(body, type=_Token)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise unreadable() from None
        if not _TOKEN.fullmatch(token.access_token):
            raise unreadable()
        return token


def _refusal(status: int, headers: Headers, body: bytes) -> Failure:
    """Google's refusal. Its description stays out: it may quote the account."""
    try:
        code = msgspec.json.decode(body, type=_Refusal).error
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        code = ""
    if status not in _REFUSED:
        return failed(status, code, headers=headers)
    said = f", {code}" if _CODE.fullmatch(code) else ""
    return MisconfiguredProvider(f"Google does not accept the credential ({status}{said}).")

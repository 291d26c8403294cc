"""OAuth 2 for public clients: codes with PKCE, refresh with rotation, devices, revocation.

Nothing of a client is registered: it proves itself by the verifier of its own challenge, and codes
go to this machine or to addresses that a setting lists. What the protocol calls an error is a
`Fault`, a value. Source: RFC 6749, RFC 7009, RFC 7636, RFC 8252, RFC 8628, RFC 9700.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit

from isthmus.auth.strict import encode_base64url
from isthmus.core.accounts import Token, TokenKind, User
from isthmus.core.errors import LimitExceeded, NotFound
from isthmus.core.limits import LimitKey
from isthmus.core.ports import Clock, Limiter, TokenStore, UserStore
from isthmus.instance.accounts import Accounts, Wish, digest

ACCESS_TTL_S: Final = 7_200
REFRESH_TTL_S: Final = 30 * 86_400.0
CODE_TTL_S: Final = 120.0
DEVICE_TTL_S: Final = 600
POLL_S: Final = 5
GRANTED: Final = frozenset({"api", "read_api", "ai_features", "mcp"})
"""Scopes that a client may ask for."""
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_CLIENT = re.compile(r"[\x21-\x7e]{1,255}")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_ADDRESS = re.compile(r"[\x21\x23-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]{1,1024}")
"""Printable ASCII without what browsers or headers read in their own way: `"<>\\^`{|}`."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
# Without vowels, digits, and letters that are mistaken for others: RFC 8628, section 6.1.
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
_STATE_CHARS: Final = 2_048


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong, by the protocol's name, and for people; `status` where it is not 400."""

    error: str
    description: str
    status: int = 400


@dataclass(frozen=True, slots=True)
class Back:
    """Where a browser goes with the answer."""

    redirect_uri: str
    state: str

    @property
    def origin(self) -> str:
        """Scheme and host, for people and for a content policy."""
        parts = urlsplit(self.redirect_uri)
        return f"{parts.scheme}://{parts.netloc}"

    def to(self, **answer: str) -> str:
        """The address with this answer."""
        state = {"state": self.state} if self.state else {}
        joint = "&" if "?" in self.redirect_uri else "?"
        return f"{self.redirect_uri}{joint}{urlencode(answer | state)}"


@dataclass(frozen=True, slots=True)
class Ask:
    """A client asks for a code. `fault` is what it has to be told, at `back`, instead of one."""

    client_id: str
    back: Back
    scopes: frozenset[str]
    challenge: str
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """An access token and the token that renews it."""

    access: str
    refresh: str
    scopes: frozenset[str]
    created_s: int


@dataclass(frozen=True, slots=True)
class Device:
    """What a device polls with, and what its user types."""

    code: str
    user_code: str


UNUSABLE: Final = Fault(
    "invalid_grant",
    "The authorization is not valid, has expired, was used or revoked, or is another client's.",
)


def asked(query: Mapping[str, str], redirects: Collection[str]) -> Ask | Fault:
    """What a browser was sent for; a Fault where it is not known to be safe to send it back."""
    client_id, address = query.get("client_id", ""), query.get("redirect_uri", "")
    if not _CLIENT.fullmatch(client_id):
        return Fault("invalid_request", "The client does not say who it is.")
    if address not in redirects and not loopback(address):
        return Fault("invalid_request", "The client may not have its answer sent to this address.")
    back = Back(address, query.get("state", "")[:_STATE_CHARS])
    scopes = scopes_of(query.get("scope", ""))
    challenge, fault = query.get("code_challenge", ""), None
    if query.get("response_type") != "code":
        fault = Fault("unsupported_response_type", "Only codes are given.")
    elif query.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        fault = Fault("invalid_request", "A code needs a challenge by S256.")
    elif scopes is None:
        fault = Fault("invalid_scope", "Nobody may have one of these scopes.")
    return Ask(client_id, back, scopes or frozenset(), challenge, fault)


def loopback(address: str) -> bool:
    """Whether an address is on the browser's own machine (RFC 8252, section 7.3)."""
    if not _ADDRESS.fullmatch(address):
        return False
    try:
        parts = urlsplit(address)
        named = parts.port != 0 and parts.hostname in _LOOPBACK
    except ValueError:
        return False
    return parts.scheme == "http" and named and "@" not in parts.netloc and "#" not in address


def scopes_of(text: str) -> frozenset[str] | None:
    """The scopes in a text, `api` when it names none; None when one of them is not to be had."""
    named = frozenset(text[:1_024].split()) or frozenset({"api"})
    return named if named <= GRANTED else None


class OAuth:
    """Gives codes and tokens."""

    def __init__(
        self,
        accounts: Accounts,
        users: UserStore,
        tokens: TokenStore,
        limiter: Limiter,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._users = users
        self._tokens = tokens
        self._limiter = limiter
        self._clock = clock

    async def code(self, user: User, ask: Ask) -> str:
        """A code for what the user agreed to."""
        details = {"redirect_uri": ask.back.redirect_uri, "challenge": ask.challenge}
        return await self._mint(user, TokenKind.CODE, ask.client_id, ask.scopes, details)

    async def exchange(self, form: Mapping[str, str]) -> Issued | Fault:
        """Tokens for a code. A code that comes twice takes back what the first one was given."""
        taken = await self._take(form.get("code", ""), TokenKind.CODE)
        if isinstance(taken, Fault):
            return taken
        details, verifier = taken.details, form.get("code_verifier", "")
        same = (
            taken.client_id == form.get("client_id", "")
            and details["redirect_uri"] == form.get("redirect_uri", "")
            and _VERIFIER.fullmatch(verifier) is not None
            and hmac.compare_digest(challenge_of(verifier), details["challenge"])
        )
        return await self._issue(taken) if same else UNUSABLE

    async def refresh(self, form: Mapping[str, str]) -> Issued | Fault:
        """Tokens for a refresh token, which is then used up; a used one revokes its family."""
        taken = await self._take(form.get("refresh_token", ""), TokenKind.REFRESH)
        if isinstance(taken, Fault):
            return taken
        if taken.client_id != form.get("client_id", ""):
            await self._disown(taken)
            return UNUSABLE
        return await self._issue(taken)

    async def begin_device(self, client_id: str, scope: str) -> Device | Fault:
        """A device without a browser asks to be let in."""
        scopes = scopes_of(scope)
        if not _CLIENT.fullmatch(client_id):
            return Fault("invalid_client", "The client does not say who it is.", 401)
        if scopes is None:
            return Fault("invalid_scope", "Nobody may have one of these scopes.")
        user_code = "".join(secrets.choice(_LETTERS) for _ in range(8))
        details = {"user_code": user_code}
        code = await self._mint(None, TokenKind.DEVICE, client_id, scopes, details)
        return Device(code, f"{user_code[:4]}-{user_code[4:]}")

    async def poll(self, form: Mapping[str, str]) -> Issued | Fault:
        """Tokens for a device, once somebody has approved it."""
        text = form.get("device_code", "")
        token = await self._tokens.find(digest(text[:512]), frozenset({TokenKind.DEVICE}))
        if token is None or token.client_id != form.get("client_id", ""):
            return UNUSABLE
        if token.revoked_at is not None:
            return Fault("access_denied", "It was denied.") if token.user_id is None else UNUSABLE
        if not self._accounts.current(token):
            return Fault("expired_token", "Nobody approved it in time.")
        if token.user_id is None:
            try:
                await self._limiter.take(LimitKey("device_poll", str(token.id), 1, POLL_S), 1)
            except LimitExceeded:
                return Fault("slow_down", f"Ask every {POLL_S} seconds.")
            return Fault("authorization_pending", "Nobody has approved it yet.")
        taken = await self._tokens.take(digest(text), TokenKind.DEVICE)
        return UNUSABLE if taken is None else await self._issue(taken)

    async def waiting(self, user: User, typed: str) -> Token | None:
        """The device for which a user typed its code. Raises LimitExceeded: too many guesses."""
        await self._limiter.take(LimitKey("device_guess", str(user.id), 20, 300.0), 1)
        letters = "".join(letter for letter in typed[:64].upper() if letter in _LETTERS)
        token = await self._tokens.pending(letters) if len(letters) == 8 else None
        if token is None or not self._accounts.current(token) or token.user_id is not None:
            return None
        return token

    async def decide(self, user: User, device: Token, *, allowed: bool) -> bool:
        """Let the device in as this user, or not; false when somebody else was faster."""
        if not allowed:
            await self._tokens.revoke(device.id)
            return True
        try:
            await self._tokens.approve(device.id, user.id)
        except NotFound:
            return False
        return True

    async def revoke(self, form: Mapping[str, str]) -> None:
        """Throw a token of this client's away, and with it all of its family (RFC 7009)."""
        kinds = frozenset({TokenKind.OAUTH, TokenKind.REFRESH})
        token = await self._tokens.find(digest(form.get("token", "")[:512]), kinds)
        if token is not None and token.client_id == form.get("client_id", ""):
            await self._tokens.revoke(token.id)
            await self._disown(token)

    async def _take(self, text: str, kind: TokenKind) -> Token | Fault:
        """Use a token up. Raises nothing: one that cannot be used is a Fault."""
        key = digest(text[:512])
        taken = await self._tokens.take(key, kind)
        if taken is None:
            used = await self._tokens.find(key, frozenset({kind}))
            if used is not None:
                # Two hold it, and one of them stole it: neither goes on (RFC 9700, 4.14.2).
                await self._disown(used)
            return UNUSABLE
        return taken if self._accounts.current(taken) else UNUSABLE

    async def _issue(self, grant: Token) -> Issued | Fault:
        try:
            user = await self._users.get(grant.user_id or 0)
        except NotFound:
            return UNUSABLE
        if not user.active:
            return UNUSABLE
        family = {"family": _family(grant)}
        client, scopes = grant.client_id, grant.scopes
        access = await self._mint(user, TokenKind.OAUTH, client, scopes, family)
        renewal = await self._mint(user, TokenKind.REFRESH, client, scopes, family)
        return Issued(access, renewal, scopes, int(self._clock.utc().timestamp()))

    async def _disown(self, token: Token) -> None:
        """Revoke everything that came of the same consent."""
        if token.user_id is None:
            return
        family = _family(token)
        for kind in (TokenKind.OAUTH, TokenKind.REFRESH):
            for each in await self._tokens.all(token.user_id, kind):
                if each.details.get("family") == family:
                    await self._tokens.revoke(each.id)

    async def _mint(
        self,
        user: User | None,
        kind: TokenKind,
        client_id: str,
        scopes: frozenset[str],
        details: Mapping[str, str],
    ) -> str:
        wish = Wish(kind, scopes, _TTL_S[kind], client_id=client_id, details=details)
        return (await self._accounts.mint(user, wish)).text


_TTL_S: Final = {
    TokenKind.CODE: CODE_TTL_S,
    TokenKind.OAUTH: float(ACCESS_TTL_S),
    TokenKind.REFRESH: REFRESH_TTL_S,
    TokenKind.DEVICE: float(DEVICE_TTL_S),
}


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier."""
    return encode_base64url(hashlib.sha256(verifier.encode("ascii")).digest())


def _family(token: Token) -> str:
    """Names a consent: by the code or device that it began with."""
    return token.details.get("family", f"{token.kind}-{token.id}")

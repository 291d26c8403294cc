"""Who calls: headers in, Caller out. The same for HTTP headers and gRPC metadata.

Source: HTTP gateway contract, sections 2.3 to 2.7; agent-platform contract, section 3.2.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, TypeAlias, TypeVar

from isthmus.auth.verify import (
    REFUSED,
    TOKEN_LIMIT_BYTES,
    Claims,
    Token,
    claims_of,
    parse,
    signed_by,
)
from isthmus.core.errors import Unauthenticated
from isthmus.core.events import Noted
from isthmus.core.identity import Caller
from isthmus.core.ports import Clock, KeySet, Telemetry
from isthmus.settings import AuthSettings

NO_HEADER = "No authorization header presented"
NOT_BEARER = "Invalid authorization header"
NOT_OIDC = "Invalid authentication token type - only OIDC is supported"

TYPE = "x-gitlab-authentication-type"
REALM = "x-gitlab-realm"
INSTANCE_ID = "x-gitlab-instance-id"
GLOBAL_USER_ID = "x-gitlab-global-user-id"
SEAT_COUNT = "x-gitlab-duo-seat-count"
BYPASS = "bypass-auth"
INSTANCE_CLAIM = "isthmus_instance"
"""In tokens of our own: the listed instance for whose user they were made."""

# Larger tokens and headers are served and not remembered, so that the caches stay small.
_KEPT_TOKEN_BYTES = 4096
_KEPT_HEADER_CHARS = 256

_Digest: TypeAlias = bytes
_Presented: TypeAlias = tuple[_Digest, str | None, str | None, str | None]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class AuthPolicy:
    """How one listener authenticates. `service_name` is the audience, and the issuer of own tokens.

    `enabled` false and `bypass` make every caller a debug caller; `bypass_with_header` does so for
    callers that send `Bypass-Auth: true`. `bypass_signature` skips the signature and nothing else.
    """

    service_name: str
    enabled: bool = True
    bypass: bool = False
    bypass_with_header: bool = False
    bypass_signature: bool = False
    warns_of_missing_root_namespace: bool = False
    token_cache_size: int = 10_000


def gateway_policy(settings: AuthSettings) -> AuthPolicy:
    """The HTTP listener's policy. `enabled` is the platform's switch and never opens this one."""
    return AuthPolicy(
        service_name=settings.service_name,
        bypass=settings.bypass_external,
        bypass_with_header=settings.bypass_external_with_header,
        bypass_signature=settings.bypass_jwt_signature,
        token_cache_size=settings.token_cache_size,
    )


def platform_policy(settings: AuthSettings) -> AuthPolicy:
    """The gRPC listener's policy. The bypass modes are the gateway's and never open this one."""
    return AuthPolicy(
        service_name=settings.platform_service_name,
        enabled=settings.enabled,
        warns_of_missing_root_namespace=True,
        token_cache_size=settings.token_cache_size,
    )


@dataclass(frozen=True, slots=True)
class Bound:
    """What tokens that name one issuer are verified with: `alone`, or before everybody's keys.

    `name` is the listed instance's, "" for issuers of our own. An empty `realm` takes any.
    """

    name: str
    keys: KeySet
    realm: str = ""
    alone: bool = True


UNBOUND: Mapping[str, Bound] = {}


class Authenticator:
    """Turns the headers of a request into its caller.

    Remembers two things, each bounded and dropped least recently used first: the claims of a
    verified token by its digest, and the caller by digest and the headers that were compared with
    the claims. Both are checked against the wall clock on every use. Refusals are not remembered.
    """

    def __init__(
        self,
        keys: KeySet,
        policy: AuthPolicy,
        telemetry: Telemetry,
        clock: Clock,
        bound: Mapping[str, Bound] = UNBOUND,
    ) -> None:
        """`bound` are issuers, as `iss` names them; tokens of all others are for `keys`."""
        self._keys = keys
        self._bound = bound
        self._listed = frozenset(one.name for one in bound.values() if one.name)
        self._policy = policy
        self._telemetry = telemetry
        self._clock = clock
        self._open = policy.bypass or not policy.enabled
        self._may_open = policy.bypass_with_header
        self._claims = _Recent[_Digest, Claims](policy.token_cache_size)
        self._callers = _Recent[_Presented, tuple[Claims, Caller]](policy.token_cache_size)

    def recall(self, headers: Mapping[str, str], now_s: float) -> Caller | None:
        """The caller, when this token and these headers were seen before; `now_s` is wall time.

        None says nothing of the caller: `caller` judges with all care. This is the way of nearly
        every request, so it awaits nothing, and it leaves every refusal to `caller`.
        """
        known = self.known(headers, now_s)
        return None if known is None else known[1]

    def known(self, headers: Mapping[str, str], now_s: float) -> tuple[Claims, Caller] | None:
        """As `recall`, with the claims: as long as they are current, the same headers prove it."""
        if self._open or (self._may_open and self._opened(headers)):
            return None
        authorization = headers.get("authorization", "")
        if authorization[:7] != "Bearer " or headers.get(TYPE) != "oidc":
            return None
        known = self._callers.get(_presented(authorization[7:], headers))
        return known if known is not None and known[0].current(now_s) else None

    async def caller(self, headers: Mapping[str, str]) -> Caller:
        """The caller; header names are in lower case.

        Raises Unauthenticated, or Unavailable when there is no key at all to verify with.
        """
        if self._opened(headers):
            return self._debug(headers)
        known = self.recall(headers, self._clock.utc().timestamp())
        if known is not None:
            return known
        token = _bearer(headers)
        return await self._first_time(token, _presented(token, headers), headers.get(SEAT_COUNT))

    def _opened(self, headers: Mapping[str, str]) -> bool:
        """Whether a bypass lets this request through; it is told of each one."""
        return self._open or (self._may_open and headers.get(BYPASS) == "true")

    async def _first_time(
        self, token: str, presented: _Presented, seat_count: str | None
    ) -> Caller:
        claims = self._claims.get(presented[0])
        if claims is None or not claims.current(self._clock.utc().timestamp()):
            claims = await self._verified(token)
            if len(token) <= _KEPT_TOKEN_BYTES:
                self._claims.put(presented[0], claims)
        listed = self._instance(claims)
        caller = _match(claims, presented, self._policy.service_name, listed)
        self._remark(claims, seat_count)
        if len(token) <= _KEPT_TOKEN_BYTES and _short(presented):
            self._callers.put(presented, (claims, caller))
        return caller

    async def _verified(self, token: str) -> Claims:
        parsed = parse(token)
        # Audience and time come first: only a token that could pass may cost a signature or a
        # look at the issuers' keys.
        now_s = self._clock.utc().timestamp()
        claims = claims_of(parsed, self._policy.service_name, now_s)
        bound = self._bound.get(claims.issuer.rstrip("/"))
        if self._policy.bypass_signature:
            self._note("critical", "authentication.signature_not_checked", claims)
        elif not await self._signed(parsed, bound):
            raise Unauthenticated(REFUSED)
        if bound is not None and bound.realm and claims.realm != bound.realm:
            raise Unauthenticated(REFUSED)
        return claims

    async def _signed(self, token: Token, bound: Bound | None) -> bool:
        if bound is not None:
            if signed_by(token, await bound.keys.keys(token.kid)):
                return True
            if bound.alone:
                return False
        return signed_by(token, await self._keys.keys(token.kid))

    def _instance(self, claims: Claims) -> str:
        """The listed instance of a verified token. Raises Unauthenticated for one of the past."""
        if claims.issuer == self._policy.service_name:
            named = claims.extra.get(INSTANCE_CLAIM, "")
            if named and named not in self._listed:
                raise Unauthenticated(REFUSED)
            return str(named)
        bound = self._bound.get(claims.issuer.rstrip("/"))
        return "" if bound is None else bound.name

    def _debug(self, headers: Mapping[str, str]) -> Caller:
        self._note("critical", "authentication.bypassed", None)
        return Caller(subject="debug", debug=True, global_user_id=headers.get(GLOBAL_USER_ID, ""))

    def _remark(self, claims: Claims, seat_count: str | None) -> None:
        if claims.seat_count and claims.seat_count != seat_count:
            self._note("warning", "authentication.seat_count_differs", claims)
        if (
            self._policy.warns_of_missing_root_namespace
            and claims.realm == "saas"
            and root_namespace_id(claims.extra.get("gitlab_root_namespace_id")) is None
        ):
            self._note("warning", "authentication.root_namespace_missing", claims)

    def _note(self, level: str, event: str, claims: Claims | None) -> None:
        details = () if claims is None else (("issuer", claims.issuer), ("realm", claims.realm))
        self._telemetry.emit(Noted(level, event, details))


def root_namespace_id(value: object) -> int | None:
    """A positive integer, from an integer or its decimal text; anything else is None."""
    if isinstance(value, str):
        text = value if len(value) <= 19 and value.isascii() and value.isdecimal() else "0"
        return int(text) or None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        return None
    return value


def _bearer(headers: Mapping[str, str]) -> str:
    """The bearer token, within its size limit; the checks stand in the contract's order."""
    authorization = headers.get("authorization")
    if authorization is None:
        raise Unauthenticated(NO_HEADER)
    scheme, _, token = authorization.partition(" ")
    if scheme != "Bearer" and scheme.lower() != "bearer":
        raise Unauthenticated(NOT_BEARER)
    if headers.get(TYPE) != "oidc":
        raise Unauthenticated(NOT_OIDC)
    if len(token) > TOKEN_LIMIT_BYTES or not token.isascii():
        raise Unauthenticated(REFUSED)
    return token


def _presented(token: str, headers: Mapping[str, str]) -> _Presented:
    # Any text has a digest; only a token in ASCII ever gets as far as being remembered.
    return (
        sha256(token.encode("utf-8", "surrogatepass")).digest(),
        headers.get(REALM),
        headers.get(INSTANCE_ID),
        headers.get(GLOBAL_USER_ID),
    )


def _match(claims: Claims, presented: _Presented, service_name: str, listed: str) -> Caller:
    """The caller that a verified token and these headers name. An empty claim is not compared."""
    _, realm, instance_id, global_user_id = presented
    self_issued = claims.issuer == service_name
    if claims.realm and claims.realm != realm:
        raise Unauthenticated("Header mismatch 'X-Gitlab-Realm'")
    if claims.instance_id and claims.instance_id != instance_id:
        raise Unauthenticated("Header mismatch 'X-Gitlab-Instance-Id'")
    if claims.subject and self_issued and claims.subject != global_user_id:
        raise Unauthenticated("Header mismatch 'X-Gitlab-Global-User-Id'")
    if claims.subject and not self_issued and claims.subject != instance_id:
        raise Unauthenticated("Header mismatch 'X-Gitlab-Instance-Id'")
    return Caller(
        subject=claims.subject,
        issuer=claims.issuer,
        scopes=claims.scopes,
        self_issued=self_issued,
        realm=claims.realm,
        instance_id=claims.instance_id,
        instance_uid=claims.instance_uid,
        seat_count=claims.seat_count,
        global_user_id=global_user_id or "",
        extra=claims.extra,
        listed=listed,
    )


def _short(presented: _Presented) -> bool:
    return all(value is None or len(value) <= _KEPT_HEADER_CHARS for value in presented[1:])


class _Recent(Generic[Key, Value]):
    """The `size` entries used most recently."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries = OrderedDict[Key, Value]()

    def get(self, key: Key) -> Value | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: Key, value: Value) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

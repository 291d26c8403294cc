"""Whether a compact JWS is a token for us, and what it claims. Pure: keys and time are arguments.

Source: RFC 7515, RFC 7519, RFC 8725; HTTP gateway contract, section 2.5. RS256 alone is accepted.
The header is read for `alg`, `kid` (a hint, compared and nothing else) and `crit` (refused); keys
or addresses that a token brings along (`jwk`, `jku`, `x5u`, `x5c`) are never looked at.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from isthmus.auth.strict import Malformed, decode_base64url, decode_object
from isthmus.core.errors import Unauthenticated
from isthmus.core.ports import VerificationKey

REFUSED = "Forbidden by auth provider"
TOKEN_LIMIT_BYTES = 16 * 1024
HEADER_LIMIT_BYTES = 1024
LEEWAY_S = 10.0
"""How far ahead an issuer's clock may be (`nbf`, `iat`). `exp` has none: a token ends on time."""

_PADDING = PKCS1v15()
_HASH = SHA256()
_NAMED = frozenset(
    {
        *("iss", "sub", "aud", "exp", "nbf", "iat", "jti"),
        *("gitlab_realm", "gitlab_instance_id", "gitlab_instance_uid"),
        *("scopes", "duo_seat_count"),
    }
)
_LAST_SECOND = 253_402_300_799  # of the year 9999


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. Absent texts are empty; times are seconds since the epoch."""

    subject: str
    issuer: str
    realm: str
    instance_id: str
    instance_uid: str
    scopes: frozenset[str]
    seat_count: str
    expires_s: float
    not_before_s: float
    extra: Mapping[str, object]

    def current(self, now_s: float) -> bool:
        """Whether the token is valid at this moment of the wall clock."""
        return self.not_before_s - LEEWAY_S <= now_s < self.expires_s


@dataclass(frozen=True, slots=True)
class Token:
    """A well-formed token that nobody has verified yet."""

    algorithm: object
    kid: str | None
    signed: bytes
    signature: bytes
    payload: Mapping[str, object]


def parse(token: str) -> Token:
    """Take a compact JWS apart. Raises Unauthenticated when it is malformed or over a limit."""
    try:
        return _parse(token)
    except Malformed as error:
        raise Unauthenticated(REFUSED) from error


def claims_of(token: Token, audience: str, now_s: float) -> Claims:
    """The claims of a token for `audience` that is current at `now_s`.

    Says nothing of the signature. Raises Unauthenticated. A claim of the wrong type makes the
    token malformed, never "absent".
    """
    try:
        claims = _claims(token.payload, audience)
    except Malformed as error:
        raise Unauthenticated(REFUSED) from error
    if not claims.current(now_s):
        raise Unauthenticated(REFUSED)
    return claims


def signed_by(token: Token, keys: Iterable[VerificationKey]) -> bool:
    """Whether one of `keys` verifies the token's RS256 signature."""
    if token.algorithm != "RS256":
        return False
    for key in keys:
        public = _public_key(key.n, key.e)
        if public is None:
            continue
        try:
            public.verify(token.signature, token.signed, _PADDING, _HASH)
        except InvalidSignature:
            continue
        return True
    return False


def strong(n: int, e: int) -> bool:
    """Whether an RSA key may verify: 2048 to 8192 bits, odd exponent of 65537 to 2^32.

    Smaller moduli are forgeable, larger ones and large exponents are a way to burn our time.
    """
    return 2048 <= n.bit_length() <= 8192 and n % 2 == 1 and 65_537 <= e < 2**32 and e % 2 == 1


@lru_cache(maxsize=256)
def _public_key(n: int, e: int) -> RSAPublicKey | None:
    return RSAPublicNumbers(e, n).public_key() if strong(n, e) else None


def _parse(token: str) -> Token:
    if len(token) > TOKEN_LIMIT_BYTES or not token.isascii():
        raise Malformed("too large, or not ASCII")
    parts = token.split(".", 3)
    if len(parts) != 3:
        raise Malformed("a compact JWS has three parts")
    raw_header = decode_base64url(parts[0])
    if len(raw_header) > HEADER_LIMIT_BYTES:
        raise Malformed("header too large")
    header = decode_object(raw_header)
    kid = header.get("kid")
    if "crit" in header or not isinstance(kid, str | None):
        raise Malformed("header not understood")
    return Token(
        algorithm=header.get("alg"),
        kid=kid,
        signed=f"{parts[0]}.{parts[1]}".encode("ascii"),
        signature=decode_base64url(parts[2]),
        payload=decode_object(decode_base64url(parts[1])),
    )


def _claims(payload: Mapping[str, object], audience: str) -> Claims:
    if audience not in _texts(payload.get("aud"), alone=True):
        raise Malformed("for another audience")
    return Claims(
        subject=_text(payload, "sub"),
        issuer=_text(payload, "iss"),
        realm=_text(payload, "gitlab_realm"),
        instance_id=_text(payload, "gitlab_instance_id"),
        instance_uid=_text(payload, "gitlab_instance_uid"),
        scopes=frozenset(_texts(payload.get("scopes"))),
        seat_count=_seat_count(payload.get("duo_seat_count")),
        expires_s=_moment(payload, "exp", float("inf")),
        # A token issued in the future is as suspect as one that is not valid yet.
        not_before_s=max(_moment(payload, "nbf", 0.0), _moment(payload, "iat", 0.0)),
        extra=MappingProxyType({k: v for k, v in payload.items() if k not in _NAMED}),
    )


def _text(payload: Mapping[str, object], name: str) -> str:
    value = payload.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{name} is not a string")
    return value


def _texts(value: object, *, alone: bool = False) -> list[str]:
    if value is None:
        return []
    if alone and isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise Malformed("not a list of strings")
    members = cast("list[object]", value)
    texts = [member for member in members if isinstance(member, str)]
    if len(texts) != len(members):
        raise Malformed("not a list of strings")
    return texts


def _seat_count(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Malformed("duo_seat_count is neither a string nor a whole number")
    return str(value)


def _moment(payload: Mapping[str, object], name: str, absent: float) -> float:
    value = payload.get(name, absent)
    if value is absent:
        return absent
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"{name} is not a number")
    if not 0 <= value <= _LAST_SECOND:
        raise Malformed(f"{name} is out of range")
    return float(value)

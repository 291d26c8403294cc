"""Signs tokens of our own, and says what each kind of them claims.

Source of the claims: HTTP gateway contract, section 3; agent-platform contract, section 3.4.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from isthmus.auth.authenticate import INSTANCE_CLAIM, root_namespace_id
from isthmus.auth.scopes import DIRECT_CONNECTION, PLATFORM_PRIMITIVES, allowed
from isthmus.auth.strict import encode_base64url
from isthmus.auth.verify import TOKEN_LIMIT_BYTES, strong
from isthmus.core.errors import CannotSign
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.ports import VerificationKey

USER_TOKEN_TTL_S = 3600
DEVELOPMENT_ISSUER = "isthmus"
FAILED = "Failed to generate JWT"

_PADDING = PKCS1v15()
_HASH = SHA256()
_TRIAL = b"a text to sign"
_KEPT_BY_PLATFORM = ("skip_usage_cutoff", "tool_access_policies", "gitlab_root_namespace_id")


class UnusableKey(ValueError):
    """A PEM does not hold an RSA key that may be used; the text never quotes it."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What makes one token unlike another: when it was issued (epoch seconds), and its id."""

    now_s: int
    token_id: str


class SigningKey:
    """A private RSA key that signs tokens with RS256. Its text never shows the key."""

    def __init__(self, private: RSAPrivateKey) -> None:
        self._private = private

    @classmethod
    def from_pem(cls, pem: str | bytes, *, made_here: bool = False) -> "SigningKey":
        """Read an unencrypted PEM. Raises UnusableKey when it holds no RSA key that may be used.

        A key that was `made_here` is tried, instead of proving for 36 ms that factors are prime.
        """
        data = pem.encode() if isinstance(pem, str) else pem
        try:
            key = load_pem_private_key(data, None, unsafe_skip_rsa_key_validation=made_here)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # The cause is dropped: a parser's message may quote what it read.
            raise UnusableKey("not an unencrypted PEM private key") from None
        if not isinstance(key, RSAPrivateKey):
            raise UnusableKey("not an RSA key")
        _numbers(key.public_key())
        if made_here and not _works(key):
            raise UnusableKey("not a sound RSA key")
        return cls(key)

    def public(self, kid: str) -> VerificationKey:
        """The public half, under this id."""
        n, e = _numbers(self._private.public_key())
        return VerificationKey(kid, n, e)

    def public_pem(self) -> bytes:
        """The public half as PEM (SubjectPublicKeyInfo)."""
        key = self._private.public_key()
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, claims: Mapping[str, object], kid: str | None = None) -> str:
        """A compact JWS of `claims`.

        Raises CannotSign when the claims are not JSON, or make a token that we would not accept.
        """
        header: dict[str, str] = {"alg": "RS256", "typ": "JWT"}
        if kid is not None:
            header["kid"] = kid
        signed = f"{_part(header)}.{_part(claims)}"
        signature = self._private.sign(signed.encode("ascii"), _PADDING, _HASH)
        token = f"{signed}.{encode_base64url(signature)}"
        if len(token) > TOKEN_LIMIT_BYTES:
            raise CannotSign(FAILED)
        return token


def _works(key: RSAPrivateKey) -> bool:
    """Whether the parts of a key fit each other, and what it signs can be verified."""
    own, public = key.private_numbers(), key.public_key()
    halves = ((own.p, own.dmp1), (own.q, own.dmq1))
    if own.q * own.iqmp % own.p != 1 or any(own.d % (prime - 1) != e for prime, e in halves):
        return False
    with suppress(ValueError, InvalidSignature):
        public.verify(key.sign(_TRIAL, _PADDING, _HASH), _TRIAL, _PADDING, _HASH)
        return True
    return False


def new_private_key_pem(bits: int = 2048) -> bytes:
    """A new private key as PEM (PKCS #8). Takes up to a second of CPU time, more with more bits."""
    key = generate_private_key(public_exponent=65_537, key_size=bits)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def verification_key(pem: str | bytes, kid: str) -> VerificationKey:
    """The public key in a PEM that holds a private or a public RSA key. Raises UnusableKey."""
    data = pem.encode() if isinstance(pem, str) else pem
    if b"PRIVATE KEY" in data:
        return SigningKey.from_pem(data).public(kid)
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey("not a PEM key") from None
    if not isinstance(key, RSAPublicKey):
        raise UnusableKey("not an RSA key")
    n, e = _numbers(key)
    return VerificationKey(kid, n, e)


def signing_kid(service_name: str) -> str:
    """The id of the service's signing key in its published key set."""
    return f"{service_name}_signing_key"


def user_claims(
    caller: Caller, client: ClientInfo, service_name: str, stamp: Stamp
) -> dict[str, object]:
    """Claims of a gateway user token (direct connections). The caller's scopes bound its scopes.

    The caller's extra claims are copied, and never replace one that is set here.
    """
    claims: dict[str, object] = dict(caller.extra)
    claims |= _registered(service_name, _user(caller), stamp)
    claims |= {
        "gitlab_realm": caller.realm,
        "gitlab_instance_id": caller.instance_id,
        "scopes": [name for name in DIRECT_CONNECTION if allowed(caller, (name,))],
    }
    if caller.seat_count.strip():
        claims["duo_seat_count"] = caller.seat_count
    if caller.realm == "saas":
        claims |= {
            "gitlab_project_id": client.headers.get("x-gitlab-project-id"),
            "gitlab_namespace_id": client.headers.get("x-gitlab-namespace-id"),
            "gitlab_root_namespace_id": root_namespace_id(
                caller.extra.get("gitlab_root_namespace_id")
            )
            or root_namespace_id(client.get("x-gitlab-root-namespace-id")),
        }
    elif caller.realm == "self-managed":
        claims["gitlab_instance_uid"] = caller.instance_uid
    return _of_instance(claims, caller)


def platform_claims(
    caller: Caller, client: ClientInfo, service_name: str, stamp: Stamp
) -> dict[str, object]:
    """Claims of an agent-platform user token."""
    held = PLATFORM_PRIMITIVES if caller.debug else caller.scopes & PLATFORM_PRIMITIVES
    claims = _registered(service_name, _user(caller), stamp)
    claims |= {
        "gitlab_realm": client.get("x-gitlab-realm"),
        "gitlab_instance_id": client.get("x-gitlab-instance-id"),
        "gitlab_instance_uid": caller.instance_uid,
        "scopes": sorted(held),
    }
    if caller.seat_count:
        claims["duo_seat_count"] = caller.seat_count
    claims |= {name: caller.extra[name] for name in _KEPT_BY_PLATFORM if name in caller.extra}
    return _of_instance(claims, caller)


def development_claims(
    subject: str, scopes: tuple[str, ...], audience: tuple[str, ...], ttl_s: int, stamp: Stamp
) -> dict[str, object]:
    """Claims of a development token, which every service in `audience` accepts.

    It counts as issued elsewhere, so its holder names the subject in `X-Gitlab-Instance-Id`.
    """
    claims = _registered(DEVELOPMENT_ISSUER, subject, stamp)
    return claims | {"aud": list(audience), "exp": stamp.now_s + ttl_s, "scopes": list(scopes)}


def _registered(service_name: str, subject: str, stamp: Stamp) -> dict[str, object]:
    return {
        "iss": service_name,
        "aud": service_name,
        "sub": subject,
        "iat": stamp.now_s,
        "nbf": stamp.now_s,
        "exp": stamp.now_s + USER_TOKEN_TTL_S,
        "jti": stamp.token_id,
    }


def _of_instance(claims: dict[str, object], caller: Caller) -> dict[str, object]:
    """The claims with the instance that the caller proved, and with no other."""
    claims.pop(INSTANCE_CLAIM, None)
    return claims | {INSTANCE_CLAIM: caller.listed} if caller.listed else claims


def _user(caller: Caller) -> str:
    # A debug caller may leave its user unnamed; an empty subject would fit every user.
    return caller.global_user_id or caller.subject


def _numbers(key: RSAPublicKey) -> tuple[int, int]:
    numbers = key.public_numbers()
    if not strong(numbers.n, numbers.e):
        raise UnusableKey("the RSA key is weaker than 2048 bits, or has an unusual exponent")
    return numbers.n, numbers.e


def _part(value: Mapping[str, object]) -> str:
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError):
        raise CannotSign(FAILED) from None
    return encode_base64url(text.encode("ascii"))

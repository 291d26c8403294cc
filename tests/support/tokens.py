"""Keys and tokens for tests, well made or badly."""

import base64
import json
from collections.abc import Mapping
from functools import lru_cache

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from isthmus.core.ports import VerificationKey

NOW_S = 1_767_225_600
"""What `HandClock` starts at: the first second of 2026."""

SERVICE = "gitlab-ai-gateway"
INSTANCE = "6a1f0e52-0000-4000-8000-0123456789ab"


@lru_cache
def private_key(
    name: str = "issuer", bits: int = 2048, exponent: int = 65_537
) -> rsa.RSAPrivateKey:
    """A key that is the same for the same arguments, for as long as the tests run."""
    del name
    return rsa.generate_private_key(exponent, bits)


def pem_of(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def public_pem_of(key: rsa.RSAPrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def public_of(key: rsa.RSAPrivateKey, kid: str = "one") -> VerificationKey:
    numbers = key.public_key().public_numbers()
    return VerificationKey(kid, numbers.n, numbers.e)


def jwk_of(key: rsa.RSAPrivateKey, kid: str = "one") -> dict[str, object]:
    numbers = key.public_key().public_numbers()
    n = b64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big"))
    e = b64(numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big"))
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": e}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def payload(**changes: object) -> dict[str, object]:
    """Claims of an instance's token; a change to None removes the claim."""
    claims: dict[str, object] = {
        "iss": "https://gitlab.example.test",
        "sub": INSTANCE,
        "aud": SERVICE,
        "iat": NOW_S,
        "nbf": NOW_S,
        "exp": NOW_S + 3600,
        "gitlab_realm": "self-managed",
        "gitlab_instance_id": INSTANCE,
        "gitlab_instance_uid": "uid-1",
        "scopes": ["complete_code", "generate_code", "duo_chat"],
        "duo_seat_count": "25",
    }
    claims |= changes
    return {name: value for name, value in claims.items() if value is not None}


def signed(
    claims: Mapping[str, object] | bytes,
    key: rsa.RSAPrivateKey | None = None,
    header: Mapping[str, object] | bytes | None = None,
    digest: hashes.HashAlgorithm | None = None,
) -> str:
    """A token with a good RS256 signature over whatever stands in it."""
    head = header if header is not None else {"alg": "RS256", "typ": "JWT", "kid": "one"}
    text = f"{b64(_raw(head))}.{b64(_raw(claims))}"
    signature = (key or private_key()).sign(
        text.encode(), padding.PKCS1v15(), digest or hashes.SHA256()
    )
    return f"{text}.{b64(signature)}"


def claims_in(token: str) -> dict[str, object]:
    """The claims of a token, unverified."""
    claims: dict[str, object] = json.loads(unb64(token.split(".")[1]))
    return claims


def headers_for(token: str, **changes: str | None) -> dict[str, str]:
    """The headers that go with `payload`; names with underscores, None removes one."""
    headers: dict[str, str | None] = {
        "authorization": f"Bearer {token}",
        "x-gitlab-authentication-type": "oidc",
        "x-gitlab-realm": "self-managed",
        "x-gitlab-instance-id": INSTANCE,
        "x-gitlab-global-user-id": "user-1",
        "x-gitlab-duo-seat-count": "25",
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in headers.items() if value is not None}


def _raw(part: Mapping[str, object] | bytes) -> bytes:
    return part if isinstance(part, bytes) else json.dumps(part).encode()


class FixedKeys:
    """A key set of these keys that counts how often it is asked."""

    def __init__(self, *keys: VerificationKey) -> None:
        self._keys = keys
        self.asked: list[str | None] = []

    async def keys(self, kid: str | None) -> tuple[VerificationKey, ...]:
        self.asked.append(kid)
        return self._keys

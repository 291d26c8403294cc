"""Keys and tokens of our own."""

import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from isthmus.auth.issue import (
    SigningKey,
    Stamp,
    UnusableKey,
    development_claims,
    new_private_key_pem,
    signing_kid,
    verification_key,
)
from isthmus.auth.verify import claims_of, parse, signed_by
from isthmus.core.errors import CannotSign
from isthmus.core.ports import VerificationKey
from tests.support.tokens import (
    NOW_S,
    claims_in,
    pem_of,
    private_key,
    public_of,
    public_pem_of,
    unb64,
)


def as_public(pem: str) -> VerificationKey:
    return verification_key(pem, "k")


def ec_pem() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def numbers_of(p: int, q: int) -> rsa.RSAPrivateNumbers:
    e = 65_537
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)


def unsound_pem(name: str) -> bytes:
    own = private_key().private_numbers()
    if name == "a factor that is no prime":
        sound = rsa.generate_private_key(65_537, 2048).private_numbers()
        own = numbers_of(sound.p * sound.q, own.q)
    else:
        parts = {part: getattr(own, part) for part in ("p", "q", "d", "dmp1", "dmq1", "iqmp")}
        parts[name] += 2
        own = rsa.RSAPrivateNumbers(**parts, public_numbers=own.public_numbers)
    return own.private_key(unsafe_skip_rsa_key_validation=True).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def encrypted_pem() -> str:
    return (
        private_key()
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        .decode()
    )


def test_a_new_key_signs_what_its_public_half_verifies() -> None:
    key = SigningKey.from_pem(new_private_key_pem())
    token = key.sign({"aud": "us", "sub": "s"}, "the-kid")
    parsed = parse(token)
    assert json.loads(unb64(token.split(".")[0])) == {
        "alg": "RS256",
        "typ": "JWT",
        "kid": "the-kid",
    }
    assert signed_by(parsed, [key.public("x")])
    assert claims_of(parsed, "us", NOW_S).subject == "s"


def test_a_key_id_is_left_out_unless_given() -> None:
    token = SigningKey.from_pem(pem_of(private_key())).sign({})
    assert json.loads(unb64(token.split(".")[0])) == {"alg": "RS256", "typ": "JWT"}


def test_the_public_half_is_published_under_the_services_name() -> None:
    assert signing_kid("svc") == "svc_signing_key"
    pem = pem_of(private_key())
    assert SigningKey.from_pem(pem).public("k") == public_of(private_key(), "k")
    assert verification_key(pem, "k") == public_of(private_key(), "k")
    assert verification_key(public_pem_of(private_key()), "k") == public_of(private_key(), "k")


@pytest.mark.parametrize("make", [ec_pem, encrypted_pem, lambda: pem_of(private_key("weak", 1024))])
def test_other_keys_are_refused_without_quoting_them(make: Callable[[], str]) -> None:
    pem = make()
    for read in (SigningKey.from_pem, as_public):
        with pytest.raises(UnusableKey) as caught:
            read(pem)
        assert pem.splitlines()[1] not in str(caught.value)


def test_a_public_key_of_another_kind_is_refused() -> None:
    pem = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(UnusableKey, match="RSA"):
        verification_key(pem, "k")


@pytest.mark.parametrize("text", ["", "secret words", "-----BEGIN PRIVATE KEY-----\nsecret\n"])
def test_text_that_is_no_key_is_refused_without_quoting_it(text: str) -> None:
    for read in (SigningKey.from_pem, as_public):
        with pytest.raises(UnusableKey) as caught:
            read(text)
        assert "secret" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_signing_key_never_shows_itself() -> None:
    key = SigningKey.from_pem(pem_of(private_key()))
    assert str(private_key().private_numbers().d) not in repr(key) + str(vars(key))


@pytest.mark.parametrize(
    "claims", [{"x": float("inf")}, {"x": object()}, {"x": "y" * 20_000}, {"x": {1, 2}}]
)
def test_claims_that_make_no_usable_token_are_not_signed(claims: dict[str, object]) -> None:
    with pytest.raises(CannotSign) as caught:
        SigningKey.from_pem(pem_of(private_key())).sign(claims)
    assert caught.value.detail == "Failed to generate JWT"


def test_a_development_token_is_for_both_services() -> None:
    claims = development_claims("me", ("duo_chat",), ("a", "b"), 60, Stamp(NOW_S, "id"))
    token = SigningKey.from_pem(pem_of(private_key())).sign(claims)
    assert claims_in(token) == {
        "iss": "isthmus",
        "aud": ["a", "b"],
        "sub": "me",
        "scopes": ["duo_chat"],
        "iat": NOW_S,
        "nbf": NOW_S,
        "exp": NOW_S + 60,
        "jti": "id",
    }


@pytest.mark.parametrize("made_here", [False, True])
@pytest.mark.parametrize("what", ["d", "dmp1", "dmq1", "iqmp", "a factor that is no prime"])
def test_a_key_that_is_not_sound_is_refused(what: str, *, made_here: bool) -> None:
    with pytest.raises(UnusableKey):
        SigningKey.from_pem(unsound_pem(what), made_here=made_here)


def test_a_key_that_was_made_here_signs() -> None:
    key = SigningKey.from_pem(new_private_key_pem(), made_here=True)
    assert signed_by(parse(key.sign({"a": 1})), [key.public("k")])

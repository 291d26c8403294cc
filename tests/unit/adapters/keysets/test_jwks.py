"""What of a published key set is accepted."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.adapters.keysets.jwks import KEY_LIMIT, discovery_url, parse_jwks
from isthmus.auth.strict import Malformed
from tests.support.tokens import b64, jwk_of, private_key, public_of

GOOD = jwk_of(private_key())


def test_a_plain_rsa_key_is_accepted() -> None:
    assert parse_jwks({"keys": [GOOD]}) == (public_of(private_key()),)


@pytest.mark.parametrize("missing", ["use", "alg"])
def test_optional_members_may_be_missing(missing: str) -> None:
    assert len(parse_jwks({"keys": [{k: v for k, v in GOOD.items() if k != missing}]})) == 1


def test_a_key_without_a_name_is_kept_without_one() -> None:
    unnamed = {k: v for k, v in GOOD.items() if k != "kid"}
    assert [key.kid for key in parse_jwks({"keys": [unnamed]})] == [""]


def test_a_leading_zero_byte_changes_nothing() -> None:
    n = public_of(private_key()).n
    padded = GOOD | {"n": b64(n.to_bytes(257, "big"))}
    assert parse_jwks({"keys": [padded]}) == (public_of(private_key()),)


@pytest.mark.parametrize(
    "changes",
    [
        {"kty": "EC"},
        {"kty": "oct", "k": "AAAA"},
        {"kty": ["RSA"]},
        {"use": "enc"},
        {"alg": "RS384"},
        {"alg": "none"},
        {"alg": "HS256"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"kid": 1},
        {"kid": "x" * 300},
        {"n": ""},
        {"n": 7},
        {"n": "!!"},
        {"n": "AQAB"},
        {"n": "A" * 100_000},
        {"e": "Aw"},
        {"e": "AQAA"},
        {"e": b64((2**64 + 1).to_bytes(9, "big"))},
        {"d": "AQAB"},
        {"n": jwk_of(private_key("weak", 1024))["n"]},
    ],
)
def test_other_keys_are_left_out_and_spoil_nothing(changes: dict[str, object]) -> None:
    members: list[object] = [GOOD | changes, None, [], GOOD]
    assert parse_jwks({"keys": members}) == (public_of(private_key()),)


def test_the_number_of_keys_is_bounded() -> None:
    assert len(parse_jwks({"keys": [GOOD] * 1000})) == KEY_LIMIT


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {"a": 1}}, {"keys": "x"}])
def test_a_document_without_keys_is_malformed(document: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        parse_jwks(document)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["kty", "use", "alg", "key_ops", "kid", "n", "e", "d"]),
            st.none()
            | st.integers()
            | st.lists(st.text(max_size=3))
            | st.sampled_from(["RSA", "sig", "RS256", "AQAB", str(GOOD["n"]), ""]),
        ),
        max_size=4,
    )
)
def test_any_members_are_taken_or_left_out(members: list[dict[str, object]]) -> None:
    for key in parse_jwks({"keys": members}):
        assert key.n.bit_length() == 2048


@given(
    st.text(max_size=50) | st.text(alphabet="htps:/[]@.?#1x", max_size=30).map("http://".__add__)
)
def test_any_text_is_an_issuer_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert discovery_url(text).endswith("/.well-known/openid-configuration")

"""AWS signatures: published vectors, and the same answers as the vendor's own library."""

from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as TheirCredentials
from hypothesis import given
from hypothesis import strategies as st

from isthmus.adapters.providers.signing.sigv4 import (
    Credentials,
    Scope,
    canonical,
    sign,
    signature,
)
from isthmus.core.messages import OutboundRequest

OWN = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
SUITE = Scope("us-east-1", "service")
FORM = (("content-type", "application/x-www-form-urlencoded; charset=utf-8"),)


def signed(request: OutboundRequest, scope: Scope, own: Credentials = OWN) -> dict[str, str]:
    return dict(sign(request, own, scope, AT))


@pytest.mark.parametrize(
    ("request_", "scope", "expected"),
    [
        # Source: AWS Signature Version 4 test suite, `get-vanilla`, `post-vanilla`,
        # `get-vanilla-query-order-key-case`.
        (
            OutboundRequest("GET", "https://example.amazonaws.com/"),
            SUITE,
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            OutboundRequest("POST", "https://example.amazonaws.com/"),
            SUITE,
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            OutboundRequest("GET", "https://example.amazonaws.com/?Param2=value2&Param1=value1"),
            SUITE,
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        # Source: AWS General Reference, "Signature Version 4 signing process", the IAM example.
        (
            OutboundRequest(
                "GET",
                "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
                FORM,
            ),
            Scope("us-east-1", "iam"),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        ),
    ],
)
def test_published_vectors(request_: OutboundRequest, scope: Scope, expected: str) -> None:
    value = signed(request_, scope)["authorization"]
    assert value.startswith(
        f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/{scope.service}/aws4_request, "
    )
    assert value.endswith(f"Signature={expected}")


SEGMENT = st.text(alphabet="abAZ09-_.~:%20%3A%2F%C3%BC", min_size=1, max_size=12)


@given(
    st.lists(SEGMENT, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)),
    st.binary(max_size=64),
    st.sampled_from(["", ":8443"]),
    st.sampled_from(["", "a session's"]),
)
def test_the_vendors_library_counts_the_same(path: str, body: bytes, port: str, token: str) -> None:
    # Dots are resolved by the library and by no server of ours.
    if any(part in {".", ".."} for part in path.split("/")):
        return
    url = f"https://bedrock-runtime.us-east-1.amazonaws.com{port}{path}"
    own = Credentials("AKID", "secret", token)
    headers = (("content-type", "application/json"),)
    scope = Scope("us-east-1", "bedrock")
    ours = signed(OutboundRequest("POST", url, headers, body), scope, own)
    request = AWSRequest("POST", url, dict(headers), body)
    request.context["timestamp"] = ours["x-amz-date"]
    auth = SigV4Auth(TheirCredentials("AKID", "secret", token or None), "bedrock", "us-east-1")
    request.headers["X-Amz-Date"] = ours["x-amz-date"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    text = auth.canonical_request(request)
    assert text == canonical(
        OutboundRequest("POST", url, (), body),
        (
            *headers,
            ("host", f"bedrock-runtime.us-east-1.amazonaws.com{port}"),
            *((name, value) for name, value in ours.items() if name != "authorization"),
        ),
    )
    expected = str(auth.signature(auth.string_to_sign(request, text), request))
    assert ours["authorization"].endswith(expected)
    assert signature(text, "secret", scope, ours["x-amz-date"]) == expected


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(Credentials("a", "secret1", "secret2"))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://h.test:443/", "h.test"),
        ("http://h.test:80/", "h.test"),
        ("http://[::1]:81/", "[::1]:81"),
    ],
)
def test_the_host_is_signed_as_it_is_sent(url: str, host: str) -> None:
    request = OutboundRequest("GET", url)
    at = "20150830T123600Z"
    text = canonical(request, (("host", host), ("x-amz-date", at)))
    value = signed(request, SUITE)["authorization"]
    assert value.endswith(signature(text, OWN.secret_access_key, SUITE, at))

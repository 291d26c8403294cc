"""A Google service account for tests, and what Vertex AI and Google's token address make of it."""

import json
import re
from urllib.parse import parse_qs

from isthmus.auth.issue import SigningKey
from isthmus.auth.strict import decode_object
from isthmus.auth.verify import parse, signed_by
from tests.support.tokens import pem_of, private_key, unb64

PROJECT = "our-project"
LOCATION = "europe-west4"
ACCOUNT = "gateway@our-project.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
ROOT = f"/v1/projects/{PROJECT}/locations/{LOCATION}"
USUAL = f"{ROOT}/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
THEIRS = "/v1/projects/their-project/locations/their-location"
"""What clients of the proxy write."""

_PATH = re.compile(
    ROOT + r"/publishers/(google|anthropic|mistralai)/models/[^/:?]+:(\w+)(\?alt=sse)?"
)


def service_account(token_url: str) -> str:
    """A key file."""
    return json.dumps(
        {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "key-1",
            "private_key": pem_of(private_key("google")),
            "client_email": ACCOUNT,
            "token_uri": token_url,
        }
    )


def granted(body: bytes, token_url: str) -> bool:
    """Whether a form asks for a token as the account may."""
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    if form["grant_type"] != "urn:ietf:params:oauth:grant-type:jwt-bearer":
        return False
    head, payload, _ = form["assertion"].split(".")
    claims = decode_object(unb64(payload))
    key = SigningKey(private_key("google")).public("key-1")
    return (
        signed_by(parse(form["assertion"]), [key])
        and decode_object(unb64(head))["kid"] == "key-1"
        and (claims["iss"], claims["aud"], claims["scope"]) == (ACCOUNT, token_url, SCOPE)
    )


def usual_case(path: str, body: dict[str, object]) -> str | None:
    """The recorded answer that fits a request; None when Vertex AI has no such path."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    tools, streamed = "tools" in body, bool(body.get("stream"))
    found = {
        ("google", "streamGenerateContent", "?alt=sse"): "tool_use" if tools else "text",
        ("google", "streamGenerateContent", None): "array_plain",
        ("google", "generateContent", None): "tool_plain" if tools else "text_plain",
        ("google", "predict", None): "embeddings",
        ("anthropic", "streamRawPredict", None): "claude_text" if streamed else "claude_plain",
        ("anthropic", "rawPredict", None): "claude_plain",
        ("mistralai", "streamRawPredict", None): "codestral_infill",
    }
    return found.get((match[1], match[2], match[3]))

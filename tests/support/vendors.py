"""What the upstream replay must know of each further vendor: keys, paths, and AWS's framing."""

import re
import struct
from binascii import crc32
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from isthmus.adapters.providers.signing.sigv4 import ALGORITHM, Scope, canonical, signature
from isthmus.core.messages import OutboundRequest

ACCESS_KEY = "AKIDREPLAY"
_CREDENTIAL = re.compile(
    ALGORITHM + r" Credential=([A-Z0-9]+)/(\d{8})/([a-z0-9-]+)/([a-z]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)


class Request(Protocol):
    """A request as it arrived."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True)
class Vendor:
    """`case` names the usual answer to a request, or "" for a path that there is not."""

    suffix: str
    known: Callable[[Request, str], bool]
    case: Callable[[str, Mapping[str, object]], str]
    stream_type: str = "text/event-stream; charset=utf-8"


def bearer(asked: Request, key: str) -> bool:
    return asked.headers.get("authorization") == f"Bearer {key}"


def api_key(asked: Request, key: str) -> bool:
    return asked.headers.get("api-key") == key


def aws(asked: Request, key: str) -> bool:
    """A Bedrock API key, or a signature with `key` as the secret."""
    return bearer(asked, key) or signed_for(asked, ACCESS_KEY, key, "bedrock")


def signed_for(asked: Request, access_key: str, secret: str, service: str) -> bool:
    """Whether the request's signature is right, counted anew from what arrived."""
    told = _CREDENTIAL.fullmatch(asked.headers.get("authorization", ""))
    if told is None or told[1] != access_key or told[4] != service:
        return False
    names = told[5].split(";")
    at = asked.headers.get("x-amz-date", "")
    must = {"host", "x-amz-date"} | {name for name in asked.headers if name.startswith("x-amz-")}
    if not must <= set(names) or at[:8] != told[2]:
        return False
    headers = [(name, asked.headers.get(name, "")) for name in names]
    url = f"http://{asked.headers['host']}{asked.path}"
    text = canonical(OutboundRequest(asked.method, url, (), asked.body), headers)
    return signature(text, secret, Scope(told[3], service), at) == told[6]


def _completions(infill: str) -> Callable[[str, Mapping[str, object]], str]:
    def case(path: str, body: Mapping[str, object]) -> str:
        if path == infill:
            return "infill"
        if path != "/v1/chat/completions":
            return ""
        return "tool_calls" if body.get("tools") else "text"

    return case


def _azure(path: str, body: Mapping[str, object]) -> str:
    if not re.fullmatch(r"/openai/deployments/[^/]+/chat/completions\?api-version=[0-9-]+", path):
        return ""
    return "text" if body.get("stream") else "text_plain"


def _bedrock(path: str, body: Mapping[str, object]) -> str:
    if not re.fullmatch(r"/model/[^/]+/converse(-stream)?", path):
        return ""
    if path.endswith("/converse"):
        return "text_plain"
    return "tool_use" if body.get("toolConfig") else "text"


VENDORS = {
    "azure": Vendor("", api_key, _azure),
    "bedrock": Vendor("", aws, _bedrock, "application/vnd.amazon.eventstream"),
    "mistral": Vendor("/v1", bearer, _completions("/v1/fim/completions")),
    "fireworks": Vendor("/v1", bearer, _completions("/v1/completions")),
}


def frames(recorded: bytes) -> tuple[bytes, ...]:
    """A recorded list of events as messages of `application/vnd.amazon.eventstream`."""
    events = msgspec.json.decode(recorded, type=list[dict[str, object]])
    return tuple(_frame(event) for event in events)


def _frame(event: Mapping[str, object]) -> bytes:
    kind = "exception" if "exception" in event else "event"
    headers = {
        f":{kind}-type": str(event.get("exception") or event["type"]),
        ":content-type": "application/json",
        ":message-type": kind,
    }
    return message(headers, msgspec.json.encode(event["payload"]))


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message whose headers are texts."""
    block = b"".join(
        bytes([len(name)]) + name + struct.pack(">BH", 7, len(value)) + value
        for name, value in ((n.encode(), v.encode()) for n, v in headers.items())
    )
    head = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    head += struct.pack(">I", crc32(head))
    whole = head + block + payload
    return whole + struct.pack(">I", crc32(whole))

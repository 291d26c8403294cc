"""What a path of Vertex AI says of a call: there, bodies do not name their model.

Source: HTTP gateway contract, section 7.3.
"""

import re

import msgspec

from isthmus.core.errors import NotFound, Rejected

PROVIDER = "vertex"

_PATH = re.compile(r"[^?]*/publishers/([^/?]+)/models/([^/:?]+):([^/:?]+)(?:\?alt=sse)?")
_STREAMED = frozenset({"serverStreamingPredict", "streamGenerateContent"})


class _Body(msgspec.Struct):
    stream: msgspec.Raw = msgspec.Raw(b"false")


_body = msgspec.json.Decoder(_Body)


def read(path: str, body: bytes) -> tuple[str, bool]:
    """Model and stream flag. Raises NotFound for another kind of path, Rejected for the body.

    Anthropic's bodies say whether they want a stream; Google's actions do.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise NotFound("Not found")
    try:
        told = _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected("Invalid JSON") from error
    publisher, model, action = match.groups()
    if publisher == "anthropic":
        return model, bytes(told.stream) == b"true"
    return model, action in _STREAMED

"""A tool's arguments, which we keep as text, for vendors that want them as an object."""

import msgspec
from msgspec import Raw


def object_of(arguments: str) -> object:
    """The arguments as an object; a text that is none is sent inside one: history stays whole."""
    try:
        msgspec.json.decode(arguments, type=dict[str, Raw])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return {"text": arguments}
    return Raw(arguments.encode())

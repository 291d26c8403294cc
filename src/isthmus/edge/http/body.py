"""The bytes of a request, and a JSON body -> a wire struct or an Invalid that names the fault."""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from starlette.requests import Request

from isthmus.core.errors import FieldError, Invalid
from isthmus.edge.http.exchange import EXCHANGE, Exchange

T = TypeVar("T")

_AT = " - at `"
_MISSING = "Object missing required field `"


async def read(request: Request) -> bytes:
    """The whole body; most come in one piece. Raises ClientGone, or TooLarge over the limit."""
    exchange: Exchange = request.scope[EXCHANGE]
    body = exchange.body(request.scope)
    if body is not None:
        return body
    message = await request.receive()
    if not message.get("more_body", False):
        return message.get("body", b"")
    pieces: list[bytes] = []
    while message.get("more_body", False):
        pieces.append(message.get("body", b""))
        message = await request.receive()
    pieces.append(message.get("body", b""))
    return b"".join(pieces)


def decoder(type_: type[T]) -> Callable[[bytes], T]:
    """What reads a body as `type_`; made once a route.

    Unknown fields are ignored; numbers may come as texts. The function raises Invalid for anything
    else: malformed JSON, text that is not UTF-8 or holds half a surrogate pair, nesting deeper than
    the interpreter allows, and values that do not fit.
    """
    read_json = msgspec.json.Decoder(type_, strict=False).decode

    def decode(raw: bytes) -> T:
        try:
            return read_json(raw)
        except msgspec.ValidationError as error:
            raise _invalid(_fault(str(error))) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _invalid(FieldError("", "is not valid JSON")) from error
        except RecursionError as error:
            raise _invalid(FieldError("", "is nested too deeply")) from error

    return decode


def _invalid(fault: FieldError) -> Invalid:
    return Invalid("Validation error", (fault,))


def _fault(message: str) -> FieldError:
    """msgspec's sentence, taken apart: ``Expected `int` - at `$.items[0].size` `` and its kin."""
    reason, _, where = message.rpartition(_AT) if _AT in message else (message, "", "$`")
    path = where.rstrip("`").removeprefix("key` in `").removeprefix("$").removeprefix(".")
    if reason.startswith(_MISSING):
        name = reason.removeprefix(_MISSING).rstrip("`")
        return FieldError(f"{path}.{name}" if path else name, "is required")
    return FieldError(path, reason)

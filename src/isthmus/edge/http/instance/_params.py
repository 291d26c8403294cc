"""The parameters of a request, wherever they stand: query, JSON or form -> a wire struct.

Source: instance contract, section 1.0.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from isthmus.core.errors import FieldError, Invalid, NotFound, Rejected
from isthmus.edge.http.body import decoder, read

T = TypeVar("T")

MAX_FIELDS = 1_000
_ID = re.compile(r"[1-9][0-9]{0,17}")
_LIST = "[]"
_FORM = "application/x-www-form-urlencoded"
_READS_NONE = frozenset({"GET", "HEAD"})


def reader(type_: type[T]) -> Callable[[Request], Awaitable[T]]:
    """What reads the parameters of a request as `type_`; made once a route.

    Names that the struct does not have are ignored; the body wins over the query; numbers may be
    texts. Raises Invalid with one fault, in the contract's words, or Rejected for an unreadable
    body.
    """
    decode = decoder(type_)
    known = frozenset(field.encode_name for field in msgspec.structs.fields(cast("Any", type_)))

    async def parameters(request: Request) -> T:
        raw = b"" if request.method in _READS_NONE else await read(request)
        texts = _texts(request.url.query, known)
        if raw.strip() and not raw.lstrip().startswith(b"{"):
            if not request.headers.get("content-type", _FORM).lower().startswith(_FORM):
                raise Rejected("The body is not a JSON object.")
            texts |= _texts(raw.decode("latin-1"), known)
            raw = b""
        if texts:
            raw = msgspec.json.encode(texts | _tree(raw))
        return _read(decode, raw or b"{}")

    return parameters


def path_number(request: Request, name: str, missing: str) -> int:
    """An id in the path. Raises NotFound, with these words, for what cannot be one."""
    text = str(request.path_params[name])
    if not _ID.fullmatch(text):
        raise NotFound(missing)
    return int(text)


def invalid(field: str, reason: str) -> Invalid:
    """The failure that names one parameter, such as `goal` that `is missing`."""
    return Invalid(f"{field} {reason}", (FieldError(field, reason),))


def _read(decode: Callable[[bytes], T], raw: bytes) -> T:
    try:
        return decode(raw)
    except Invalid as error:
        fault = error.fields[0]
        if not fault.field:
            raise Rejected("The body is not a JSON object.") from error
        raise invalid(fault.field, _words(fault.reason)) from error


def _words(reason: str) -> str:
    """msgspec's reasons in the contract's words."""
    if reason == "is required":
        return "is missing"
    return "is invalid" if "`, got `" in reason else "does not have a valid value"


def _texts(pairs: str, known: frozenset[str]) -> dict[str, object]:
    """Known names and their texts; `name[]` may come several times and makes a list."""
    found: dict[str, object] = {}
    try:
        split = parse_qsl(pairs, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Rejected("There are too many parameters.") from None
    for name, text in split:
        if name in known:
            found[name] = text
        elif name.endswith(_LIST) and name.removesuffix(_LIST) in known:
            items = found.setdefault(name.removesuffix(_LIST), [])
            if isinstance(items, list):
                cast("list[str]", items).append(text)
    return found


def _tree(raw: bytes) -> dict[str, object]:
    if not raw:
        return {}
    return _read(decoder(dict[str, object]), raw)

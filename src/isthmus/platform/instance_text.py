"""What goes into a call of the instance, and what its answer says. Pure.

Source: agent-platform contract, sections 6.1 and 8.4.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote, urlencode

import msgspec

from isthmus.core.errors import ToolRefused
from isthmus.platform.instance_api import Reply


def segment(value: object, name: str) -> str:
    """A value as one part of a path; nothing in it can lead to another route."""
    text = "" if value is None else str(value)
    if not text.strip() or text.strip(". ") == "" or "\0" in text:
        raise ToolRefused(f"`{name}` cannot stand in a path of the instance.")
    return quote(text, safe="")


def query(values: Mapping[str, Any]) -> str:
    """The query of a call, with its question mark; empty when there is nothing to say."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            inner = cast("Mapping[str, object]", value)
            pairs += [(f"{name}[{key}]", _text(one)) for key, one in inner.items()]
        elif isinstance(value, list):
            pairs += [(f"{name}[]", _text(one)) for one in cast("list[object]", value)]
        else:
            pairs.append((name, _text(value)))
    return f"?{urlencode(pairs)}" if pairs else ""


def checked(reply: Reply) -> Reply:
    """The answer of a call that succeeded. Raises ToolRefused with what the instance says."""
    if reply.ok:
        return reply
    try:
        said: object = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        said = reply.body
    told = at(said, "message") or at(said, "error") or reply.body
    text = told if isinstance(told, str) else dumped(told)
    raise ToolRefused(f"The instance answered {reply.status}: {text[:500]}".rstrip(": "))


def at(data: object, way: str) -> Any:
    """What stands at `a.b.c`, a number in it being a place in a list; None when it is not there."""
    for step in way.split("."):
        if isinstance(data, Mapping):
            data = cast("Mapping[str, object]", data).get(step)
        elif isinstance(data, list) and step.isdigit():
            items = cast("list[object]", data)
            data = items[int(step)] if int(step) < len(items) else None
        else:
            return None
    return data


def dumped(value: object) -> str:
    """The value as compact JSON."""
    return msgspec.json.encode(value).decode()


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence | Mapping) and not isinstance(value, str):
        return dumped(cast("object", value))
    return str(value)

"""A checkpoint's channels as JSON lines, for readers of a session's history. Pure.

Source: instance contract, section 1.7.
"""

from collections.abc import Iterator, Mapping
from typing import Final, cast

import msgspec

SAFE: Final = ("ui_chat_log", "plan", "status")
"""Channels that everybody who may see a workflow may see."""

_Json = Mapping[str, object]
_encode = msgspec.json.Encoder().encode


def lines(goal: str, checkpoint: bytes, *, full: bool) -> Iterator[bytes]:
    """The goal, where there is one, then every item of every channel."""
    if goal.strip():
        yield _line({"channel": "goal", "value": goal})
    tree = _mapping(msgspec.json.decode(checkpoint))
    channels = _mapping(tree.get("channel_values"))
    for name in channels if full else [one for one in SAFE if one in channels]:
        yield from _channel(name, channels[name])


def _channel(name: str, value: object) -> Iterator[bytes]:
    if isinstance(value, list):
        yield from _items(name, cast("list[object]", value))
        return
    parts = _mapping(value)
    if not any(isinstance(part, list) for part in parts.values()):
        yield _line({"channel": name, "value": value})
        return
    for key, part in parts.items():
        yield from _channel(f"{name}.{key}", part)


def _items(name: str, items: list[object]) -> Iterator[bytes]:
    for item in items:
        if isinstance(item, dict):
            yield _line({"channel": name} | cast("dict[str, object]", item) | {"channel": name})
        else:
            yield _line({"channel": name, "value": item})


def _mapping(value: object) -> _Json:
    return cast("_Json", value) if isinstance(value, dict) else {}


def _line(value: _Json) -> bytes:
    return _encode(value) + b"\n"

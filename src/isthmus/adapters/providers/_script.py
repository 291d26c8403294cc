"""A script file for the scripted model: turns of text and tool uses, checked when read."""

from collections.abc import Mapping
from typing import Annotated, cast

import msgspec
import yaml
from msgspec import Meta, Struct

SIZE_LIMIT_BYTES = 4 * 1024 * 1024

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]


class ScriptError(ValueError):
    """The script is wrong; names the field."""


class Call(Struct, frozen=True, forbid_unknown_fields=True):
    """One tool use."""

    name: Name
    arguments: Mapping[str, object] = {}


class Turn(Struct, frozen=True, forbid_unknown_fields=True):
    """What the model says in one turn. A turn with tools is answered by their results."""

    text: Annotated[str, Meta(max_length=1_000_000)] = ""
    tools: Annotated[tuple[Call, ...], Meta(max_length=64)] = ()
    delay_ms: Annotated[float, Meta(ge=0, le=60_000)] = 0.0


class Script(Struct, frozen=True, forbid_unknown_fields=True):
    """The turns in order. After the last one the model only says that the script is over."""

    turns: Annotated[tuple[Turn, ...], Meta(min_length=1, max_length=10_000)]


def parse_script(data: bytes) -> Script:
    """Read a script. Raises ScriptError, which names the field."""
    if len(data) > SIZE_LIMIT_BYTES:
        raise ScriptError(f"providers.scripted.script: larger than {SIZE_LIMIT_BYTES} bytes")
    try:
        raw = cast("object", yaml.safe_load(data))
        script = msgspec.convert(raw, Script)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ScriptError(f"providers.scripted.script: not YAML: {error}") from error
    except msgspec.ValidationError as error:
        raise ScriptError(f"providers.scripted.script: {error}") from error
    for index, turn in enumerate(script.turns):
        if not turn.text and not turn.tools:
            raise ScriptError(f"providers.scripted.script: turns[{index}]: text or tools")
        _encodable(turn, index)
    return script


def _encodable(turn: Turn, index: int) -> None:
    for number, call in enumerate(turn.tools):
        try:
            msgspec.json.encode(call.arguments)
        except (TypeError, ValueError, RecursionError) as error:
            raise ScriptError(
                f"providers.scripted.script: turns[{index}].tools[{number}].arguments: not JSON"
            ) from error

"""What a template of a flow may show of results: in their frame, as in a conversation. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from isthmus.platform.address import Input
from isthmus.platform.tool import Trust
from isthmus.platform.trust import Frame

_RESULTS: Final = frozenset({"tool_responses", "parsed_responses", "error"})


def presented(
    inputs: Sequence[Input],
    values: Mapping[str, object],
    steps: Mapping[str, Trust],
    frame: Frame,
) -> dict[str, object]:
    """The values of a template, by name: safe, and those that came from tools framed.

    `steps` are the components that call tools without a model, with their tools' trust.
    """
    framed = dict(values)
    for one in inputs:
        value = framed[one.name] = _safe(framed[one.name], frame)
        if one.target == "conversation_history":
            framed[one.name] = _spoken(value, frame)
        elif one.target == "context" and one.path[:1] and one.path[0] in steps:
            trust = steps[one.path[0]]
            if trust != "internal" and (len(one.path) < 2 or one.path[1] in _RESULTS):
                framed[one.name] = _framed(value, trust, frame)
    return framed


def _safe(value: object, frame: Frame) -> object:
    match value:
        case str():
            return frame.safe(value)
        case list():
            return [_safe(one, frame) for one in cast("list[object]", value)]
        case dict():
            held = cast("dict[str, object]", value)
            return {key: _safe(one, frame) for key, one in held.items()}
        case _:
            return value


def _framed(value: object, trust: str, frame: Frame) -> object:
    """Each text in its frame. A status or another short word of ours stays as it is."""
    match value:
        case str():
            return frame.around(value, trust)
        case list():
            return [_framed(one, trust, frame) for one in cast("list[object]", value)]
        case dict():
            held = cast("dict[str, object]", value)
            return {
                key: one if key == "execution_result" else _framed(one, trust, frame)
                for key, one in held.items()
            }
        case _:
            return value


def _spoken(value: Any, frame: Frame) -> Any:
    """A conversation whose results are framed."""
    match value:
        case list():
            return [_spoken(one, frame) for one in cast("list[Any]", value)]
        case {"role": "tool", "trust": str(trust), "text": str(text)}:
            return {**cast("dict[str, Any]", value), "text": frame.around(text, trust)}
        case dict():
            return {key: _spoken(one, frame) for key, one in cast("dict[str, Any]", value).items()}
        case _:
            return value

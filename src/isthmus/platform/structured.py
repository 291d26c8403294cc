"""Structured answers: what a model's turn means where its answer is the call of a tool. Pure.

Source: agent-platform contract, section 7.3 (loop rules).
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final, TypeAlias, cast

import msgspec

from isthmus.platform.flow import Shape
from isthmus.platform.flow_schema import misfits
from isthmus.platform.history import Stored, StoredUse

FAULTS: Final = 10
AGAIN: Final = "Go on with tools, or give the final answer by calling its tool."
ALONE: Final = "The final answer must be the only call: none of these calls was run."
Answered: TypeAlias = dict[str, object]


def read(shape: Shape, uses: Sequence[StoredUse]) -> Answered | list[Stored] | None:
    """The answer; or what the model is told instead, so that it tries again; None to go on.

    Fields that the answer leaves out are null, so that those of an earlier answer are gone.
    """
    if not uses:
        return [{"role": "user", "text": AGAIN}]
    if all(use["name"] != shape.tool for use in uses):
        return None
    if len(uses) > 1:
        return [_refused(use, ALONE) for use in uses]
    (use,) = uses
    if fault := use.get("fault"):
        return [_refused(use, fault)]
    given: Answered = msgspec.json.decode(use["arguments"], type=Answered)
    if wrong := list(islice(misfits(given, shape.definition), FAULTS)):
        return [_refused(use, "The answer does not fit:\n" + "\n".join(wrong))]
    known = cast("Mapping[str, object]", shape.definition.get("properties") or {})
    return given | {name: None for name in known if name not in given}


def text_of(answer: Answered) -> str:
    """The answer for the history and for who watches."""
    return msgspec.json.encode(answer).decode()


def _refused(use: StoredUse, why: str) -> Stored:
    return {"role": "tool", "id": use["id"], "text": why, "failed": True}

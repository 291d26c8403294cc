"""What must be true of a case when it is over."""

from collections.abc import Iterator

import msgspec

from isthmus.adapters.providers._spec import Dialect
from isthmus.adapters.providers.dialects.anthropic import AnthropicDialect
from isthmus.adapters.providers.dialects.openai import OpenAIDialect
from isthmus.adapters.providers.dialects.vertex import VertexDialect
from isthmus.core.events import ModelCalled
from isthmus.core.messages import Usage
from tests.faults.caller import Outcome
from tests.faults.cases import Case
from tests.faults.vendors import DIALECTS

_METERS: dict[str, Dialect] = {
    "anthropic": AnthropicDialect(),
    "openai": OpenAIDialect(own=True, completions=True),
    "azure": OpenAIDialect(own=True, completions=True),
    "mistral": OpenAIDialect(own=True, completions=True),
    "fireworks": OpenAIDialect(own=True, completions=True),
    "vertex": VertexDialect("/v1"),
}
_OVER = frozenset({"stop", "length", "tool_use"})


def problems_of(
    case: Case, outcome: Outcome | None, control: Outcome, fact: ModelCalled
) -> Iterator[str]:
    """What is wrong; nothing when all is well. No outcome: the caller left."""
    if outcome is None:
        yield from left(case, fact)
        return
    if case.route.forwards:
        yield from _forwarded(case, outcome, fact)
    elif case.whole:
        yield from _whole(case, outcome, control, fact)
    else:
        yield from _broken(case, outcome, control, fact)
    yield from counted(case, fact)


def _whole(case: Case, outcome: Outcome, control: Outcome, fact: ModelCalled) -> Iterator[str]:
    ending = case.route.ending(outcome)
    if ending != "whole":
        yield f"ended as {ending} ({outcome.status}) though the vendor said everything"
    elif case.route.text(outcome.body) != case.route.text(control.body):
        yield f"says {outcome.body[:200]!r}"
    if (fact.error, fact.finish in _OVER) != ("none", True):
        yield f"is told as {fact.finish}, {fact.error}"


def _broken(case: Case, outcome: Outcome, control: Outcome, fact: ModelCalled) -> Iterator[str]:
    if case.route.ending(outcome) == "whole":
        yield f"a false end: {outcome.status} {outcome.body[:300]!r}"
    elif outcome.status >= 400 and not _json(outcome.body):
        yield f"a refusal that is not JSON: {outcome.body[:200]!r}"
    elif outcome.status < 400:
        said, all_ = case.route.text(outcome.body), case.route.text(control.body)
        if not all_.startswith(said):
            yield f"says what the vendor did not: {outcome.body[:200]!r}"
    if fact.finish != "error" or fact.error == "none":
        yield f"is told as {fact.finish}, {fact.error}"


def left(case: Case, fact: ModelCalled) -> Iterator[str]:
    """What is wrong with a call whose caller left."""
    if (fact.finish, fact.error) != ("cancelled", "none"):
        yield f"is told as {fact.finish}, {fact.error}"
    known = {_usage(case, case.script.pieces[:at]) for at in range(case.script.at + 1)}
    if fact.usage not in known | {None}:
        yield f"tells tokens that the vendor did not: {fact.usage}"


def _forwarded(case: Case, outcome: Outcome, fact: ModelCalled) -> Iterator[str]:
    script = case.script
    if script.fault == "status":
        if outcome.status != script.status or not outcome.ended:
            yield f"a status was changed to {outcome.status}"
        return
    said = script.fault in {"none", "drip", "error", "garbage"}
    if outcome.status == 200 and not script.sent.startswith(outcome.body):
        yield f"bytes that the vendor did not send: {outcome.body[:200]!r}"
    if outcome.status == 200 and outcome.ended:
        if not (said or case.whole) or outcome.body != script.sent:
            yield f"a false end: {outcome.body[-200:]!r}"
        if (fact.error != "none") != (script.fault == "error"):
            yield f"is told as {fact.finish}, {fact.error}"
    elif said:
        yield f"was cut at {len(outcome.body)} of {len(script.sent)} bytes ({outcome.status})"
    elif fact.error == "none":
        yield f"is told as {fact.finish}, {fact.error}"


def counted(case: Case, fact: ModelCalled) -> Iterator[str]:
    """What is wrong with the tokens that were told."""
    script = case.script
    if script.fault == "status" or (script.at < 0 and script.fault not in {"none", "drip"}):
        told: tuple[bytes, ...] = ()
    elif script.fault in {"none", "drip"} or (script.fault == "garbage" and case.route.forwards):
        told = script.pieces
    else:
        told = script.pieces[: script.at]
    expected = _usage(case, told)
    if script.fault in {"reset", "stall"}:
        # What is under way when a connection is reset, or its time is over, may be lost.
        known = {_usage(case, told[:at]) for at in range(len(told) + 1)}
        if fact.usage not in known:
            yield f"tells {fact.usage}"
    elif fact.usage != expected:
        yield f"tells {fact.usage}, not {expected}"


def _usage(case: Case, pieces: tuple[bytes, ...]) -> Usage | None:
    """Tokens by the meter, which is not what reads the answers of other routes."""
    if not pieces:
        return None
    api = DIALECTS[case.dialect].api if case.route.wire is None else case.route.wire[0]
    if api == "bedrock":
        whole = len(pieces) == len(case.script.pieces)
        return _BEDROCK if whole else None
    meter = _METERS[api].meter(case.script.media)
    found: Usage | None = None
    for piece in pieces:
        found = meter(piece)
    return found


_BEDROCK = Usage(1220, 9, 1000, 200)


def _json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError:
        return False
    return True

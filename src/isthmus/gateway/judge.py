"""What users make of suggestions: the id that an answer carries, and the verdicts that come back.

An id says itself what is counted with it, so that any replica takes a verdict, and none remembers
suggestions. Nothing is decided by what it says: whoever makes one up counts wrongly for himself.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from isthmus.auth.scopes import require
from isthmus.core.events import SuggestionJudged
from isthmus.core.identity import Caller, Who
from isthmus.core.ports import Telemetry
from isthmus.gateway.hints import Kind
from isthmus.gateway.suggestion import EditorCount, Origin
from isthmus.gateway.wording import FEATURE

ID_LIMIT_CHARS: Final = 512
NAME_LIMIT_CHARS: Final = 80
VERDICTS: Final = ("shown", "accepted", "rejected")
REMEMBERED: Final = 16_384
"""Verdicts that count once; as many again are forgotten late."""
_SCOPES: Final = ("complete_code", "generate_code")
_LETTER: Final[Mapping[Kind, str]] = {"completion": "c", "generation": "g"}
_KIND: Final[Mapping[str, Kind]] = {letter: kind for kind, letter in _LETTER.items()}


def suggestion_id(call_id: str, kind: Kind, origin: Origin) -> str:
    """The id of what a call suggested: letters, digits and `._-`, fit for a header or a path."""
    choice = origin.choice
    return call_id + _ending(kind, origin.language, choice.upstream or choice.id)


class Judge:
    """Takes verdicts. The same one on the same suggestion counts once, as far as is remembered."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._seen: set[tuple[str, str]] = set()
        self._seen_before: set[tuple[str, str]] = set()

    def judge(self, suggestion: str, verdict: str, caller: Caller) -> None:
        """Count a verdict; what an unknown id does not say stays unknown. Raises Forbidden."""
        require(caller, _SCOPES, "Unauthorized to judge code suggestions", self_issued=True)
        self.count(suggestion, verdict, caller)

    def count(self, suggestion: str, verdict: str, caller: Caller) -> None:
        """The same for a caller who has been let in."""
        suggestion = suggestion[:ID_LIMIT_CHARS]
        mark = (suggestion, verdict)
        if mark in self._seen or mark in self._seen_before:
            return
        if len(self._seen) >= REMEMBERED:
            self._seen_before, self._seen = self._seen, set()
        self._seen.add(mark)
        call_id, feature, language, model = _read(suggestion)
        self._telemetry.emit(
            SuggestionJudged(verdict, call_id, language, model, feature, caller.who)
        )


def judged(counts: Iterable[EditorCount], feature: str, who: Who) -> Iterator[SuggestionJudged]:
    """What an editor counted, as facts; nothing of what it did not count."""
    for each in counts:
        for verdict, count in (
            ("shown", each.shown),
            ("accepted", each.accepted),
            ("failed", each.failed),
        ):
            if count > 0:
                yield SuggestionJudged(verdict, "", each.language, each.model, feature, who, count)


@lru_cache(maxsize=1_024)
def _ending(kind: Kind, language: str, model: str) -> str:
    told = f"{language}\n{model[:NAME_LIMIT_CHARS]}".encode()
    return f".{_LETTER[kind]}.{base64.urlsafe_b64encode(told).decode().rstrip('=')}"


def _read(suggestion: str) -> tuple[str, str, str, str]:
    """Call, feature, language, model; blanks for what it does not say."""
    call_id, _, ending = suggestion.partition(".")
    letter, _, told = ending.partition(".")
    kind = _KIND.get(letter)
    try:
        text = base64.b64decode(told + "=" * (-len(told) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    language, _, model = text.partition("\n")
    return call_id, FEATURE[kind] if kind else "", language, model

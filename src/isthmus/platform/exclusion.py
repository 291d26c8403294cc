"""Which files of a project its own rules keep from every tool. Pure.

Source: agent-platform contract, section 8.10 (`exclusionRules`, in the syntax of gitignore). The
rules come with a session and may be meant to hurt: RE2 matches them, in linear time.
"""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, cast

import pathspec

from isthmus.platform.paths import denied

# The library has no types.
_Unfit: Final = cast("type[Exception]", cast("Any", import_module("re2")).error)
MAX_RULES: Final = 500
MAX_RULE_CHARS: Final = 256
MAX_CHARS: Final = 32_768
INLINE_CHARS: Final = 32_768
"""Longer listings are looked through on a thread, so that the loop goes on."""
REASON: Final = "excluded due to policy"
"""What a tool says in place of a file."""


class Exclusion:
    """The rules of one project. As in git, a rule that cannot be read matches nothing.

    Rules that are too many or too large to be held hide every file: a part of them would open what
    the others close.
    """

    def __init__(self, rules: Sequence[str] = ()) -> None:
        self._spec: pathspec.GitIgnoreSpec | None = None
        self._all = False
        if not rules:
            return
        long = any(len(rule) > MAX_RULE_CHARS for rule in rules)
        self._all = long or len(rules) > MAX_RULES or sum(map(len, rules)) > MAX_CHARS
        if not self._all:
            try:
                self._spec = _spec([rule for rule in rules if _readable(rule)])
            except _Unfit:
                self._all = True

    def hides(self, path: str) -> bool:
        """Whether no tool may read or change `path`: by these rules, or by the list for all."""
        if self._all or denied(path):
            return True
        text = path.strip().replace("\\", "/").removeprefix("./").strip("/")
        return self._spec is not None and self._spec.match_file(text)

    async def without(self, lines: str, separator: str = "") -> str:
        """The lines whose path is not hidden; it ends at `separator` when there is one."""
        if len(lines) <= INLINE_CHARS:
            return self._without(lines, separator)
        return await asyncio.to_thread(self._without, lines, separator)

    def _without(self, lines: str, separator: str) -> str:
        kept = (
            line
            for line in lines.splitlines(keepends=True)
            if not self.hides((line.split(separator, 1)[0] if separator else line).strip())
        )
        return "".join(kept)


NOTHING: Final = Exclusion()
"""No rules: only what is on the list for all is hidden."""


@lru_cache(maxsize=8)
def excluding(rules: tuple[str, ...]) -> Exclusion:
    """The same for the same rules; making one may take a quarter of a second."""
    return Exclusion(rules)


def _spec(rules: Sequence[str]) -> pathspec.GitIgnoreSpec:
    # Named, and not the best that there is: without RE2 a rule could take minutes for one path.
    return pathspec.GitIgnoreSpec.from_lines(rules, backend="re2")


def _readable(rule: str) -> bool:
    with suppress(ValueError, re.error, _Unfit):
        _spec([rule])
        return True
    return False

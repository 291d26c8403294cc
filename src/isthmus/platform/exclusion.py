"""Which files of a project its own rules keep from every tool. Pure.

Source: agent-platform contract, section 8.10 (`exclusionRules`, in the syntax of gitignore).
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import pathspec

from isthmus.platform.paths import denied

MAX_RULES = 1_000
MAX_RULE_CHARS = 1_000
REASON = "excluded due to policy"
"""What a tool says in place of a file."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """The rules of one project. As in git, a rule that cannot be read matches nothing."""

    rules: tuple[str, ...] = ()

    def hides(self, path: str) -> bool:
        """Whether no tool may read or change `path`: by these rules, or by the list for all."""
        text = path.strip().replace("\\", "/").removeprefix("./").strip("/")
        return denied(path) or (bool(self.rules) and _spec(self.rules).match_file(text))

    def without(self, lines: str, separator: str = "") -> str:
        """The lines whose path is not hidden; it ends at `separator` when there is one."""
        kept = (
            line
            for line in lines.splitlines(keepends=True)
            if not self.hides((line.split(separator, 1)[0] if separator else line).strip())
        )
        return "".join(kept)


def excluding(rules: Iterable[str]) -> Exclusion:
    """The rules as they came; of too many or too long ones the first, cut."""
    return Exclusion(tuple(rule[:MAX_RULE_CHARS] for rule in list(rules)[:MAX_RULES]))


@lru_cache(maxsize=256)
def _spec(rules: Sequence[str]) -> pathspec.GitIgnoreSpec:
    good: list[str] = []
    for rule in rules:
        with suppress(ValueError, re.error):
            pathspec.GitIgnoreSpec.from_lines([rule])
            good.append(rule)
    return pathspec.GitIgnoreSpec.from_lines(good)

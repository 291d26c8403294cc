"""Which commands may be started: pure.

The policy is a fence for mistakes, not a sandbox: what runs may start other programs.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from isthmus.core.errors import ToolRefused

DENIED = ("sudo *", "su *", "doas *", "pkexec *", "chroot *", "nsenter *")
"""Who runs the executor lends it their own rights, and no more."""

_JOINS = frozenset(";&|()\n")
_META = frozenset(";&|()<>$`\n")


@dataclass(frozen=True, slots=True)
class Policy:
    """Globs over command lines, `program arguments`. With `allowed` set, nothing else may run."""

    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = DENIED

    def check(self, words: Sequence[str]) -> None:
        """Raises ToolRefused when the command may not be started."""
        if not words or not words[0]:
            raise ToolRefused("no program was named")
        line = " ".join((words[0].rpartition("/")[2], *words[1:]))
        if any(_fits(line, pattern) for pattern in self.denied):
            raise ToolRefused(f"The command policy does not allow {words[0]!r}.")
        if self.allowed and not any(_fits(line, pattern) for pattern in self.allowed):
            raise ToolRefused("The command policy allows only: " + ", ".join(self.allowed))

    def check_line(self, line: str) -> None:
        """The same for a line of shell: each simple command in it, as far as it can be told.

        With an allow list, one plain command is all that a line may hold.
        """
        if not line.strip() or "\0" in line:
            raise ToolRefused("no command was given")
        if self.allowed and _META & set(line):
            raise ToolRefused("The command policy allows one plain command, without operators.")
        for words in _simple(line):
            self.check(words)


def _fits(line: str, pattern: str) -> bool:
    """Whether a glob fits a line; `name *` also fits `name` alone."""
    return fnmatchcase(line, pattern) or pattern == f"{line} *"


def _simple(line: str) -> list[list[str]]:
    """The simple commands of a line of shell, leading assignments left out."""
    commands: list[list[str]] = [[]]
    try:
        lexer = shlex.shlex(line.replace("\n", " ; "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for word in lexer:
            if set(word) <= _JOINS:
                commands.append([])
            else:
                commands[-1].append(word)
    except ValueError as error:
        raise ToolRefused("the command holds an unbalanced quote") from error
    started = [_without_assignments(words) for words in commands]
    return [words for words in started if words]


def _without_assignments(words: list[str]) -> list[str]:
    while words and words[0].partition("=")[1] and words[0].partition("=")[0].isidentifier():
        words = words[1:]
    return words

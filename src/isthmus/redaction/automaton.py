"""Patterns that take linear time on any text: RE2's, over bytes. Nobody else knows the library.

RE2 runs a whole set of patterns in one pass, so a clean text costs the same whatever the number of
rules. Patterns are read as bytes (Latin-1), so that a text is encoded once and never mapped back.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeAlias, cast

MEMORY_BYTES = 8 << 20
"""What a set's states may take; beyond, they are made anew, and no match is lost."""


class BadPattern(ValueError):
    """A pattern that RE2 does not take; the text says why."""


Pattern: TypeAlias = re.Pattern[bytes]
"""What RE2's patterns have in common with the standard library's."""


PatternSet: TypeAlias = Callable[[bytes], list[int]]
"""Patterns that are tried together: gives the places of those that are found in a text."""


# It has no types of its own.
_library = cast("Any", import_module("re2"))


@lru_cache(4_096)
def pattern(text: str) -> Pattern:
    """The pattern, compiled once. Raises BadPattern."""
    try:
        return cast("Pattern", _library.compile(_bytes(text), _options()))
    except _library.error as error:
        said = error.args[0] if error.args else ""
        reason = said.decode("latin-1") if isinstance(said, bytes) else str(said)
        raise BadPattern(reason) from error


def pattern_set(texts: Sequence[str]) -> PatternSet:
    """A set of patterns. Raises BadPattern."""
    made = _library.Set.SearchSet(_options())
    try:
        for text in texts:
            made.Add(_bytes(text))
        made.Compile()
    except _library.error as error:
        raise BadPattern(str(error)) from error
    # The method itself: around it, the library asks whether a text is bytes, which it always is.
    return cast("PatternSet", made._set.Match)


def _bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise BadPattern("only ASCII and Latin-1 can be written in a pattern") from error


def _options() -> Any:
    options = _library.Options()
    options.encoding = _library.Options.Encoding.LATIN1
    options.max_mem = MEMORY_BYTES
    options.log_errors = False
    options.dot_nl = True
    return options

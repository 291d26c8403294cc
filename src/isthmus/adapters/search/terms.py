"""What a person typed -> an expression of SQLite's FTS5 that no typing can break."""

import re

READ_CHARS = 20_000
TERMS_MOST = 48
_WORD = re.compile(r"[^\W_]{1,64}")
_EVERYWHERE = frozenset(
    _WORD.findall(
        "a about an and any are as at be but by can do does for from get has have how i if in into "
        "is it its me my not of on or our should so that the their there these this to use was we "
        "what when where which who why will with you your"
    )
)
"""English words that tell nothing; they count only when there are no others."""


def expression(query: str) -> str:
    """Any of the query's words, each quoted; "" when there are none. Never operators or columns."""
    words = dict.fromkeys(word.lower() for word in _WORD.findall(query[:READ_CHARS]))
    telling = [word for word in words if word not in _EVERYWHERE] or list(words)
    return " OR ".join(f'"{word}"' for word in telling[:TERMS_MOST])

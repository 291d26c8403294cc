"""Search in documentation: permission, the index, and as much of what it finds as a prompt takes.

Source: HTTP gateway contract, section 8.2.
"""

from collections.abc import Iterable
from dataclasses import replace

from isthmus.auth.scopes import require
from isthmus.core.events import FeatureUsed
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.page import Passage
from isthmus.core.ports import Search, Telemetry

SCOPE = "documentation_search"
REFUSAL = "Unauthorized to search documentations"
TOKENS_MOST = 8_000
TOKENS_A_WORD = 1.4
CHARS_A_TOKEN_MOST = 8
"""Bounds what is taken for a word: some languages write without spaces."""


class SearchDocs:
    """Finds passages for callers who may search."""

    def __init__(self, index: Search, telemetry: Telemetry) -> None:
        self._index = index
        self._telemetry = telemetry

    async def find(
        self, query: str, limit: int, caller: Caller, client: ClientInfo
    ) -> tuple[Passage, ...]:
        """At most `limit` passages, best first. Raises Forbidden or Unavailable."""
        require(caller, (SCOPE,), REFUSAL)
        self._telemetry.emit(FeatureUsed(SCOPE, caller, client))
        return within(await self._index.find(query, limit), TOKENS_MOST)


def within(passages: Iterable[Passage], tokens: int) -> tuple[Passage, ...]:
    """The first passages, as many as fit; of one that would be the first, what fits."""
    kept: list[Passage] = []
    left = float(tokens)
    for passage in passages:
        size = estimate(passage.content)
        if size > left:
            if not kept:
                share = int(len(passage.content) * left / size)
                kept.append(replace(passage, content=passage.content[:share]))
            break
        kept.append(passage)
        left -= size
    return tuple(kept)


def estimate(text: str) -> float:
    """About how many tokens a text is."""
    return max(len(text.split()) * TOKENS_A_WORD, len(text) / CHARS_A_TOKEN_MOST)

"""Continues code from its own context: what followed earlier places that read like this one.

Nothing is learnt or guessed: an answer is a splice of text that the file, or the context sent with
it, already holds. It is deterministic, and empty where the evidence is thin
(`_incontext_evidence.supported` is the threshold).
"""

from isthmus.adapters.providers._incontext_evidence import Corpus, Hit, find_hits, grow
from isthmus.adapters.providers._incontext_fit import Place, fit, place_of
from isthmus.adapters.providers._incontext_pattern import find_patterns
from isthmus.core.messages import Infill

_ABOVE_CHARS = 100_000
_BELOW_CHARS = 50_000
_OTHERS = 16
_OTHERS_CHARS = 100_000
_LINES = 4


def complete(infill: Infill) -> str:
    """What to insert at the cursor; empty when the context does not tell.

    Reads at most 100,000 characters above, 50,000 below and 100,000 of context, the nearest ones.
    """
    above = infill.prefix[-_ABOVE_CHARS:]
    below = infill.suffix[:_BELOW_CHARS]
    if not above.strip() or _inside_word(above, below):
        return ""
    corpus = Corpus(above, below, _others(infill))
    place = place_of(above, below)
    exact = _fitted(find_hits(corpus), place, 1 if place.rest.strip() else _LINES)
    if "\n" in exact:
        return exact
    built = _fitted(find_patterns(corpus), place, 1)
    return built if built.startswith(exact) else exact


def _fitted(hits: list[Hit], place: Place, lines: int) -> str:
    growth = grow(hits, lines)
    return fit(growth.text, place, ended=growth.ended)


def _inside_word(above: str, below: str) -> bool:
    return (below[:1].isalnum() or below[:1] == "_") and (above[-1].isalnum() or above[-1] == "_")


def _others(infill: Infill) -> tuple[str, ...]:
    texts: list[str] = []
    left = _OTHERS_CHARS
    for item in infill.context[:_OTHERS]:
        if left <= 0:
            break
        texts.append(item.content[:left])
        left -= len(texts[-1])
    return tuple(texts)

"""Cuts code and context to what a model can take.

Tokens are estimated as characters divided by three: tokenizers of code models average three to four
characters a token, so the estimate errs on the side of sending less.
"""

from msgspec import Struct

from isthmus.core.messages import ContextItem

CHARS_A_TOKEN = 3
_SUFFIX_PART = 0.07
_CONTEXT_PART = 0.30


class Cut(Struct, frozen=True, gc=False):
    """What is left: the end of the prefix, the start of the suffix, and whole context items."""

    prefix: str
    suffix: str
    context: tuple[ContextItem, ...]
    context_tokens_sent: int
    context_tokens_used: int


def estimate(chars: int) -> int:
    """Tokens in so many characters, rounded up."""
    return -(-chars // CHARS_A_TOKEN)


def cut(prefix: str, suffix: str, context: tuple[ContextItem, ...], tokens: int) -> Cut:
    """The suffix gets up to 7 % of the budget, the context up to 30 %, the prefix the rest.

    The suffix is cut on the right and the prefix on the left. Context items are taken whole, in
    their order; one that does not fit is left out. `sent` counts what came, `used` what was kept.
    """
    chars = max(0, tokens) * CHARS_A_TOKEN
    suffix = suffix[: int(chars * _SUFFIX_PART)]
    if not context and len(prefix) <= chars - len(suffix):
        return Cut(prefix, suffix, (), 0, 0)  # As a rule nothing is cut.
    left = int(chars * _CONTEXT_PART)
    kept: list[ContextItem] = []
    for item in context:
        size = len(item.name) + len(item.content)
        if size <= left:
            kept.append(item)
            left -= size
    used = int(chars * _CONTEXT_PART) - left
    room = chars - len(suffix) - used
    return Cut(
        prefix=prefix[-room:] if room > 0 else "",
        suffix=suffix,
        context=tuple(kept),
        context_tokens_sent=sum(estimate(len(item.content)) for item in context),
        context_tokens_used=sum(estimate(len(item.content)) for item in kept),
    )

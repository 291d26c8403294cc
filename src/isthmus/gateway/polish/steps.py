"""Which steps an answer goes through before it is inserted, as data; all of them are pure.

Source: HTTP gateway contract, section 4.9. The names there are those of the functions.
"""

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

from isthmus.gateway.polish.echo import clean_model_reflection, cut_at_suffix, drop_repeats
from isthmus.gateway.polish.marks import (
    clean_irrelevant_keywords,
    filter_score,
    remove_comment_only_completion,
    strip_asterisks,
    strip_markdown_fences,
    strip_whitespaces,
)
from isthmus.gateway.polish.place import Place
from isthmus.gateway.polish.shape import (
    close_brackets,
    fix_end_block_errors,
    fix_indentation,
    fix_truncation,
    open_line,
)
from isthmus.gateway.polish.unit import trim_by_min_allowed_context

Step: TypeAlias = Callable[[str, Place], str]
Steps: TypeAlias = tuple[Step, ...]

TEXTUAL: Steps = (
    clean_irrelevant_keywords,
    strip_markdown_fences,
    clean_model_reflection,
    fix_indentation,
    cut_at_suffix,
    fix_end_block_errors,
    drop_repeats,
    close_brackets,
    strip_whitespaces,
)
"""For every model that completes."""
SYNTACTIC: Steps = (
    remove_comment_only_completion,
    clean_irrelevant_keywords,
    strip_markdown_fences,
    trim_by_min_allowed_context,
    cut_at_suffix,
    fix_end_block_errors,
    clean_model_reflection,
    fix_indentation,
    drop_repeats,
    close_brackets,
    strip_whitespaces,
)
"""For models that fill in code and do not know where to stop."""
COMPLETION: Mapping[str, Steps] = {
    "fireworks": (*SYNTACTIC, filter_score, fix_truncation),
    "vertex": (*SYNTACTIC, strip_asterisks),
}
"""By our provider's name, for its models that fill in code; TEXTUAL for all others."""
GENERATION: Mapping[str, Steps] = {
    "anthropic": (strip_markdown_fences, strip_whitespaces),
}
"""By the provider that the wire's prompt was made for; WRITTEN for all others."""
WRITTEN: Steps = (
    clean_irrelevant_keywords,
    strip_markdown_fences,
    clean_model_reflection,
    fix_indentation,
    open_line,
    strip_whitespaces,
)

_ALL = (TEXTUAL, WRITTEN, *COMPLETION.values(), *GENERATION.values())
NAMES = frozenset(step.__name__ for steps in _ALL for step in steps)


def trim(text: str, place: Place, steps: Steps) -> str:
    """The text after all steps; they stop as soon as nothing is left."""
    for step in steps:
        if not text:
            break
        text = step(text, place)
    return text


class Polish:
    """The steps that are left when settings skip some. Raises ValueError for an unknown name."""

    def __init__(self, skipped: Collection[str]) -> None:
        unknown = sorted(set(skipped) - NAMES)
        if unknown:
            raise ValueError(
                f"there is no step `{unknown[0]}`; there are: {', '.join(sorted(NAMES))}"
            )

        def kept(steps: Steps) -> Steps:
            return tuple(step for step in steps if step.__name__ not in skipped)

        self._filling = {provider: kept(steps) for provider, steps in COMPLETION.items()}
        self._completing = kept(TEXTUAL)

    def completion(self, provider: str, *, fills: bool) -> Steps:
        """For a completion that this provider's model wrote."""
        return self._filling.get(provider, self._completing) if fills else self._completing

    def generation(self, provider: str) -> Steps:
        """For a generation whose prompt was made for this provider; no setting skips any."""
        return GENERATION.get(provider, WRITTEN)

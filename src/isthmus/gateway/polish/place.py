"""Where a suggestion goes, and what is known of how it was made: what every step is given."""

from typing import TYPE_CHECKING

from msgspec import Struct

from isthmus.gateway.language import Comments

if TYPE_CHECKING:
    from tree_sitter import Parser


class Place(Struct, frozen=True):
    """The text around the cursor and its language ("" when unknown, and then nothing of it counts).

    `parser` reads its syntax, where a grammar is installed. `truncated` tells that the model was
    stopped by the cap on its output; `score` and `least_score` are the model's confidence and what
    is asked of it, None when nobody tells or asks.
    """

    prefix: str
    suffix: str
    language: str = ""
    comments: Comments = ""
    parser: "Parser | None" = None
    truncated: bool = False
    score: float | None = None
    least_score: float | None = None

    @property
    def line(self) -> str:
        """The cursor's line, up to the cursor."""
        return self.prefix[self.prefix.rfind("\n") + 1 :]


def says_something(text: str) -> bool:
    """Whether a text is more than brackets and space: three letters or digits."""
    return sum(char.isalnum() for char in text) >= 3

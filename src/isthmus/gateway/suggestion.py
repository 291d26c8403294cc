"""What editors ask for, and what they are answered: the values of code suggestions."""

from collections.abc import AsyncGenerator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from isthmus.core.messages import ContextItem, Message, ModelChoice, Usage
from isthmus.gateway.hints import ANY, Kind, Wish


class EditorCount(Struct, frozen=True, gc=False):
    """What an editor counted since it told last, of one model and language."""

    language: str
    model: str
    shown: int
    accepted: int
    failed: int


class SuggestRequest(Struct, frozen=True, gc=False):
    """What an editor asks for.

    `refusal` is the sentence of a 403, `self_issued` whether tokens of our own may ask. `messages`
    replace the prompt that would be built here; `variables` are laid over its own. With
    `context_gated`, the context counts only when the client's language server is recent enough.
    `made_for` is the provider that a generation's prompt was made for, where the wire says so.
    """

    kind: Kind
    above: str
    below: str
    file_name: str
    refusal: str
    self_issued: bool = False
    editor_language: str = ""
    context: tuple[ContextItem, ...] = ()
    context_gated: bool = False
    messages: tuple[Message, ...] = ()
    wish: Wish = ANY
    prompt_id: str = ""
    prompt_version: str = "^1.0.0"
    by_prompt_name: bool = False
    """Whether a generation is reported under its prompt's name instead of its model's."""
    variables: Mapping[str, object] = {}
    streaming: bool = False
    made_for: str = ""
    counts: tuple[EditorCount, ...] = ()
    variants: tuple["SuggestRequest", ...] = ()
    """What to try next, in this order, while nothing has been answered; of one kind each."""


class Origin(Struct, frozen=True, gc=False):
    """What replies say of where a suggestion comes from."""

    engine: str
    name: str
    language: str
    region: str
    flags: tuple[str, ...]
    choice: ModelChoice
    prompt_name: str


def stood_in(origin: Origin, choice: ModelChoice) -> Origin:
    """The origin of an answer that another model gave than was meant."""
    if origin.engine != origin.choice.engine:
        # It is reported under its prompt's name.
        return replace(origin, choice=choice)
    return replace(origin, engine=choice.engine, name=choice.id, choice=choice)


class Suggestion(Struct, frozen=True, gc=False):
    """A whole suggestion; empty text is an answer."""

    text: str
    origin: Origin
    usage: Usage | None = None
    max_output_tokens_used: bool = False
    context_tokens_sent: int = 0
    context_tokens_used: int = 0


class SuggestionStream(Struct, frozen=True):
    """A suggestion as it is produced, its first text known. Close `text` to stop the model."""

    text: AsyncGenerator[str, None]
    origin: Origin

"""A request for code in the words of one model: cut to its size, and asked in its way."""

from typing import Literal, TypeAlias

from msgspec import Struct

from isthmus.core.errors import FieldError, Invalid
from isthmus.core.messages import PLAIN, Chat, ContextItem, Infill, ModelChoice, Text
from isthmus.gateway.budget import CONTEXT_PART, Cut, cut, estimate
from isthmus.gateway.closeness import ranked
from isthmus.gateway.hints import Kind
from isthmus.gateway.language import Language
from isthmus.gateway.suggestion import SuggestRequest
from isthmus.prompts.registry import Prompt
from isthmus.prompts.shape import shaped
from isthmus.routing.ask import Ask

FEATURE: dict[Kind, str] = {"completion": "code_completions", "generation": "code_generations"}
SCOPE: dict[Kind, str] = {"completion": "complete_code", "generation": "generate_code"}
Others: TypeAlias = Literal["any", "floor", "none"]
CANNOT_CHAT = frozenset({"local", "scripted"})
_OWN_WORDS_TOKENS = 600
"""What the words around the code in our own prompts may take."""
_FILLED_TOKENS = {"fireworks": 48, "vertex": 64}
"""Caps on what these write at the cursor. Source: HTTP gateway contract, section 4.3."""


class Plan(Struct, frozen=True, gc=False):
    """A call ready to be made."""

    ask: Ask
    choice: ModelChoice
    cut: Cut
    language: Language
    wording: "Wording | None" = None

    def by(self, choice: ModelChoice | None) -> "Plan":
        """The plan of the model that answered: this one when no other stood in."""
        return self if choice is None or self.wording is None else self.wording.plan(choice)


class Wording:
    """A request's words for one model after another, as routing asks for them.

    `others` says who may stand in: any model of the feature, the local completer alone, or nobody.
    """

    def __init__(
        self,
        request: SuggestRequest,
        context: tuple[ContextItem, ...],
        prompt: Prompt,
        language: Language,
        others: Others,
    ) -> None:
        self._request = request
        self._context = context
        self._prompt = prompt
        self._language = language
        self._others = others
        self._plans: dict[str, Plan] = {}

    def first(self, choice: ModelChoice) -> Plan:
        """The call to the model that was chosen. Raises what `planned` raises."""
        others = None if self._others == "none" else self
        return planned(self._request, self._context, choice, self._prompt, self._language, others)

    def plan(self, choice: ModelChoice) -> Plan:
        """The plan by which a model that stood in was asked."""
        return self._plans[choice.id]

    @property
    def floor_only(self) -> bool:
        """Whether none but the local completer may stand in."""
        return self._others == "floor"

    def again(self, choice: ModelChoice) -> Ask | None:
        """The call in words for a model that stands in; None for one that cannot do it."""
        if self._request.kind == "generation" and choice.provider in CANNOT_CHAT:
            return None
        plan = planned(self._request, self._context, choice, self._prompt, self._language)
        self._plans[choice.id] = plan
        return plan.ask


def planned(
    request: SuggestRequest,
    context: tuple[ContextItem, ...],
    choice: ModelChoice,
    prompt: Prompt,
    language: Language,
    wording: Wording | None = None,
) -> Plan:
    """The call; with `wording`, others may be asked as well.

    Raises Invalid for variables that do not fit, and for more than the model takes.
    """
    fills = choice.fills and request.kind == "completion"
    limit = min(prompt.params.max_tokens or choice.max_output_tokens, choice.max_output_tokens)
    if fills and choice.provider in _FILLED_TOKENS:
        limit = min(limit, _FILLED_TOKENS[choice.provider])
    budget = choice.max_context_tokens - limit
    pieces = cut(
        request.above,
        request.below,
        ranked(context, request.file_name, request.above) if context else context,
        budget - _OWN_WORDS_TOKENS,
        # On a server of the caller's own, it is the caller's affair.
        CONTEXT_PART if choice.target is None else 1.0,
    )
    ask = Ask(
        feature=FEATURE[request.kind],
        unit_primitive=SCOPE[request.kind],
        prompt=_worded(request, choice, prompt, language, pieces),
        max_tokens=limit,
        temperature=prompt.params.temperature,
        stop=prompt.stop,
        streaming=request.streaming,
        tuning=prompt.tuning(choice.provider) if request.prompt_id else PLAIN,
        timeout_s=prompt.timeout_s,
        again=None if wording is None else wording.again,
        floor_only=wording is not None and wording.floor_only,
    )
    if isinstance(ask.prompt, Chat) and _size(ask.prompt) > budget:
        raise Invalid("Validation error", (FieldError("prompt", "longer than the model can take"),))
    return Plan(ask, choice, pieces, language, wording)


def _worded(
    request: SuggestRequest,
    choice: ModelChoice,
    prompt: Prompt,
    language: Language,
    pieces: Cut,
) -> Chat | Infill:
    """Text around a cursor for models that fill in, a conversation for those that talk."""
    if request.messages and choice.provider not in CANNOT_CHAT:
        return Chat(shaped(request.messages, choice))
    if request.kind == "completion" and choice.fills:
        return Infill(
            pieces.prefix, pieces.suffix, request.file_name, language.name, pieces.context
        )
    variables: dict[str, object] = {
        "prefix": pieces.prefix,
        "suffix": pieces.suffix,
        "file_name": request.file_name,
        "language": language.name,
        "context": pieces.context,
        "instruction": "",
        "user_instruction": "",
    }
    return Chat(shaped(prompt.messages(variables | dict(request.variables)), choice))


def _size(chat: Chat) -> int:
    parts = (part for message in chat.messages for part in message.parts)
    return estimate(sum(len(part.text) for part in parts if isinstance(part, Text)))

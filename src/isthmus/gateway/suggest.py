"""Completes and generates code: permission, model, prompt cut to budget, answer trimmed to fit."""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from msgspec import Struct, field
from msgspec.structs import replace

from isthmus.auth.scopes import require
from isthmus.core.errors import (
    FieldError,
    Invalid,
    MisconfiguredProvider,
    NotFound,
    Unavailable,
)
from isthmus.core.events import SuggestionAsked, SuggestionTrimmed
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.messages import (
    Chat,
    ContextItem,
    Infill,
    Message,
    ModelChoice,
    Text,
    Usage,
)
from isthmus.core.ports import Clock, Telemetry
from isthmus.gateway.budget import Cut, cut, estimate
from isthmus.gateway.fences import without_fences
from isthmus.gateway.flags import effective
from isthmus.gateway.hints import AMAZON_Q, NO_HINT, Kind, ModelHint, custom, wanted
from isthmus.gateway.language import Language, Languages
from isthmus.gateway.trim import COMPLETION, GENERATION, Surroundings, trim
from isthmus.prompts.registry import Prompt, Registry
from isthmus.routing.catalogue import COMPATIBLE
from isthmus.routing.models import Ask, Models
from isthmus.settings import GatewaySettings

_FEATURE: Mapping[Kind, str] = {"completion": "code_completions", "generation": "code_generations"}
_SCOPE: Mapping[Kind, str] = {"completion": "complete_code", "generation": "generate_code"}
_PROMPT: Mapping[Kind, str] = {
    "completion": "code_suggestions/completions",
    "generation": "code_suggestions/generations",
}
_AMAZON_Q_SCOPE = "amazon_q_integration"
_CANNOT_CHAT = frozenset({"local", "scripted"})
_NO_MODEL = (
    "No model that can generate code is configured: set ANTHROPIC_API_KEY, OPENAI_API_KEY or "
    "ISTHMUS_PROVIDERS__OPENAI__BASE_URL."
)
_OWN_WORDS_TOKENS = 600
"""What the words around the code in our own prompts may take."""
_CONTEXT_SINCE = (7, 17, 1)
"""The first language server whose context may be used by requests that are gated on it."""
_VERSION = re.compile(r"\s*v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?![\d.])")


class SuggestRequest(Struct, frozen=True, gc=False):
    """What an editor asks for.

    `refusal` is the sentence of a 403, `self_issued` whether tokens of our own may ask. `messages`
    replace the prompt that would be built here; `variables` are laid over its own. With
    `context_gated`, the context counts only when the client's language server is recent enough.
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
    hint: ModelHint = NO_HINT
    prompt_id: str = ""
    prompt_version: str = "^1.0.0"
    by_prompt_name: bool = False
    """Whether a generation is reported under its prompt's name instead of its model's."""
    variables: Mapping[str, object] = field(default_factory=dict[str, object])
    streaming: bool = False


class Origin(Struct, frozen=True, gc=False):
    """What replies say of where a suggestion comes from."""

    engine: str
    name: str
    language: str
    region: str
    flags: tuple[str, ...]
    choice: ModelChoice


class Suggestion(Struct, frozen=True, gc=False):
    """A whole suggestion; empty text is an answer."""

    text: str
    origin: Origin
    usage: Usage | None = None
    max_output_tokens_used: bool = False
    context_tokens_sent: int = 0
    context_tokens_used: int = 0


class SuggestionStream(Struct, frozen=True):
    """A suggestion as it is produced. Close `text` to stop the model."""

    text: AsyncGenerator[str, None]
    origin: Origin


class _Plan(Struct, frozen=True, gc=False):
    """A call ready to be made."""

    ask: Ask
    choice: ModelChoice
    cut: Cut


class Suggest:
    """Code suggestions for every version of the API."""

    def __init__(
        self,
        models: Models,
        prompts: Registry,
        languages: Languages,
        telemetry: Telemetry,
        clock: Clock,
        settings: GatewaySettings,
    ) -> None:
        self._models = models
        self._prompts = prompts
        self._languages = languages
        self._telemetry = telemetry
        self._clock = clock
        self._region = settings.region
        self._disallowed = {
            realm: frozenset(flags) for realm, flags in settings.disallowed_flags.items()
        }

    async def whole(
        self, request: SuggestRequest, caller: Caller, client: ClientInfo
    ) -> Suggestion:
        """The suggestion in one piece, trimmed to fit its place.

        Raises Forbidden, Invalid, Unavailable, MisconfiguredProvider, or what the model raises.
        """
        plan, origin = self._prepare(request, caller, client)
        if plan is None:
            return Suggestion("", origin)
        answer = await self._models.whole(plan.ask, plan.choice, caller)
        usage = answer.usage
        limit = plan.ask.max_tokens or plan.choice.max_output_tokens
        return Suggestion(
            text=self._trimmed(answer.text, request),
            origin=origin,
            usage=usage,
            max_output_tokens_used=answer.finish == "length"
            or (usage is not None and usage.output_tokens >= limit),
            context_tokens_sent=plan.cut.context_tokens_sent,
            context_tokens_used=plan.cut.context_tokens_used,
        )

    def stream(
        self, request: SuggestRequest, caller: Caller, client: ClientInfo
    ) -> SuggestionStream:
        """The suggestion as the model writes it, untrimmed but for the fences of a generation.

        Raises what `whole` raises before a model is called; its failures come with the text.
        """
        if not request.streaming:
            request = replace(request, streaming=True)
        plan, origin = self._prepare(request, caller, client)
        text = _nothing() if plan is None else self._texts(plan, caller)
        if request.kind == "generation":
            text = without_fences(text)
        return SuggestionStream(text, origin)

    def _prepare(
        self, request: SuggestRequest, caller: Caller, client: ClientInfo
    ) -> tuple[_Plan | None, Origin]:
        scope = _AMAZON_Q_SCOPE if request.hint.provider == AMAZON_Q else _SCOPE[request.kind]
        require(caller, (scope,), request.refusal, self_issued=request.self_issued)
        language = self._languages.of(request.file_name, request.editor_language)
        self._telemetry.emit(SuggestionAsked(language.id, language.extension, language.editor))
        choice = self._choose(request)
        prompt = self._prompt(request, caller)
        reported = request.by_prompt_name or bool(request.prompt_id)
        by_prompt = request.kind == "generation" and reported
        origin = Origin(
            engine="agent" if by_prompt else choice.engine,
            name=prompt.name if by_prompt else choice.id,
            language=language.id,
            region=self._region,
            flags=effective(client, self._disallowed),
            choice=choice,
        )
        if not language.name:
            return None, origin
        return self._plan(request, client, choice, prompt, language), origin

    def _choose(self, request: SuggestRequest) -> ModelChoice:
        if request.hint.provider == AMAZON_Q:
            raise MisconfiguredProvider("Amazon Q is not configured on this server.")
        if custom(request.hint):
            raise MisconfiguredProvider("Custom model endpoints are not allowed on this server.")
        feature = _FEATURE[request.kind]
        model = wanted(request.kind, request.hint)
        if model.model_id:
            try:
                return self._usable(self._models.choose(feature, model.model_id), request.kind)
            except (NotFound, Unavailable) as error:
                if not model.or_default:
                    raise MisconfiguredProvider("The model asked for is not served.") from error
        try:
            return self._usable(self._models.choose(feature), request.kind)
        except Unavailable as error:
            raise Unavailable(
                _NO_MODEL if request.kind == "generation" else error.detail
            ) from error

    def _usable(self, choice: ModelChoice, kind: Kind) -> ModelChoice:
        if kind == "generation" and choice.provider in _CANNOT_CHAT:
            raise Unavailable(_NO_MODEL)
        return choice

    def _prompt(self, request: SuggestRequest, caller: Caller) -> Prompt:
        if not request.prompt_id:
            return self._prompts.get(_PROMPT[request.kind])
        try:
            prompt = self._prompts.get(request.prompt_id, request.prompt_version)
        except NotFound as error:
            fault = FieldError("prompt_id", "no such prompt or version")
            raise Invalid("Validation error", (fault,)) from error
        require(caller, (prompt.unit_primitive,), request.refusal, self_issued=request.self_issued)
        return prompt

    def _plan(
        self,
        request: SuggestRequest,
        client: ClientInfo,
        choice: ModelChoice,
        prompt: Prompt,
        language: Language,
    ) -> _Plan:
        allowed = not request.context_gated or _recent(client)
        limit = prompt.params.max_tokens or choice.max_output_tokens
        limit = min(limit, choice.max_output_tokens)
        budget = choice.max_context_tokens - limit
        context = request.context if allowed else ()
        pieces = cut(request.above, request.below, context, budget - _OWN_WORDS_TOKENS)
        ask = Ask(
            feature=_FEATURE[request.kind],
            unit_primitive=_SCOPE[request.kind],
            prompt=_worded(request, choice, prompt, language, pieces),
            max_tokens=limit,
            temperature=prompt.params.temperature,
            stop=prompt.stop,
            streaming=request.streaming,
        )
        if isinstance(ask.prompt, Chat) and _size(ask.prompt) > budget:
            fault = FieldError("prompt", "longer than the model can take")
            raise Invalid("Validation error", (fault,))
        return _Plan(ask, choice, pieces)

    async def _texts(self, plan: _Plan, caller: Caller) -> AsyncGenerator[str, None]:
        async with aclosing(self._models.stream(plan.ask, plan.choice, caller)) as deltas:
            async for delta in deltas:
                if delta.text:
                    yield delta.text

    def _trimmed(self, text: str, request: SuggestRequest) -> str:
        began_s = self._clock.now_s()
        steps = COMPLETION if request.kind == "completion" else GENERATION
        trimmed = trim(text, Surroundings(request.above, request.below), steps)
        self._telemetry.emit(SuggestionTrimmed(self._clock.now_s() - began_s))
        return trimmed


def _worded(
    request: SuggestRequest,
    choice: ModelChoice,
    prompt: Prompt,
    language: Language,
    pieces: Cut,
) -> Chat | Infill:
    """Text around a cursor for models that fill in, a conversation for those that talk."""
    if request.messages and choice.provider not in _CANNOT_CHAT:
        return Chat(_systems_first(request.messages))
    fills = choice.provider == "local" or choice.id == COMPATIBLE
    if request.kind == "completion" and fills:
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
    messages = prompt.messages(variables | dict(request.variables))
    return Chat(_systems_first(messages))


def _systems_first(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return tuple(sorted(messages, key=lambda message: message.role != "system"))


def _size(chat: Chat) -> int:
    parts = (part for message in chat.messages for part in message.parts)
    return estimate(sum(len(part.text) for part in parts if isinstance(part, Text)))


def _recent(client: ClientInfo) -> bool:
    match = _VERSION.match(client.get("x-gitlab-language-server-version"))
    return match is not None and tuple(map(int, match.groups())) >= _CONTEXT_SINCE


async def _nothing() -> AsyncGenerator[str, None]:
    for text in ():
        yield text

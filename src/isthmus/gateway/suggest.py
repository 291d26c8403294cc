"""Completes and generates code: credits, permission, model, call, and an answer made to fit."""

import re
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing, suppress
from typing import Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from isthmus.auth.scopes import require
from isthmus.core.errors import (
    Failure,
    FieldError,
    Forbidden,
    Invalid,
    MisconfiguredProvider,
    NotBuilt,
    NotFound,
    Rejected,
    TooLarge,
    Unavailable,
    UpstreamFailed,
    UpstreamTimeout,
)
from isthmus.core.events import FeatureUsed, SuggestionAsked, SuggestionTrimmed
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.limits import LimitKey, Use
from isthmus.core.messages import Answer, ModelChoice
from isthmus.core.ports import Clock, Limiter, Quota, Telemetry
from isthmus.gateway.fences import without_fences
from isthmus.gateway.flags import effective
from isthmus.gateway.hints import ANY, Kind, Wish
from isthmus.gateway.judge import judged
from isthmus.gateway.language import Languages
from isthmus.gateway.payloads import NO_PAYLOADS, PayloadPolicy, seen
from isthmus.gateway.polish.place import Place
from isthmus.gateway.polish.steps import COMPLETION, Polish, trim
from isthmus.gateway.reasoning import Reasoning
from isthmus.gateway.suggestion import (
    Origin,
    Suggestion,
    SuggestionStream,
    SuggestRequest,
    stood_in,
)
from isthmus.gateway.syntax import Syntax
from isthmus.gateway.wording import CANNOT_CHAT, FEATURE, SCOPE, Others, Plan, Wording
from isthmus.prompts.registry import Prompt, Registry
from isthmus.routing.models import Models
from isthmus.settings import GatewaySettings

T = TypeVar("T")
Answered_co = TypeVar("Answered_co", covariant=True)

BILLED = "code_suggestions"
"""Qualified name of the feature that costs credits."""
_PROMPT: Mapping[Kind, str] = {
    "completion": "code_suggestions/completions",
    "generation": "code_suggestions/generations",
}
_AMAZON_Q_SCOPE = "amazon_q_integration"
_NO_AMAZON_Q = "Amazon Q is not served here."
_NOT_SERVED = "The model asked for is not served."
_NO_MODEL = (
    "No model that can generate code is configured: set ANTHROPIC_API_KEY, OPENAI_API_KEY or "
    "ISTHMUS_PROVIDERS__OPENAI__BASE_URL."
)
_CONTEXT_SINCE = (7, 17, 1)
"""The first language server whose context may be used by requests that are gated on it."""
_VERSION = re.compile(r"\s*v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?![\d.])")
_ANOTHER_MAY = (
    *(Forbidden, Invalid, Rejected, TooLarge, NotBuilt, NotFound, Unavailable),
    *(MisconfiguredProvider, UpstreamFailed, UpstreamTimeout),
)
"""Failures of one variant after which the next one is tried."""
TRYING_S = 60.0
"""No further variant is tried after this time."""


class Serve(Protocol[Answered_co]):
    """Answers one variant; the last one may be answered by a model that stands in."""

    def __call__(
        self, one: SuggestRequest, prompt: Prompt, *, last: bool
    ) -> Awaitable[Answered_co]: ...


class Library(Struct, frozen=True):
    """What files say of prompts and of languages."""

    prompts: Registry
    languages: Languages


class Rules(Struct, frozen=True):
    """What this server allows, whom it asks for credits, and what counts its users' requests."""

    settings: GatewaySettings
    quota: Quota | None = None
    payloads: PayloadPolicy = NO_PAYLOADS
    limiter: Limiter | None = None


class Suggest:
    """Code suggestions for every version of the API. Raises ValueError for unknown step names."""

    def __init__(
        self,
        models: Models,
        library: Library,
        telemetry: Telemetry,
        clock: Clock,
        rules: Rules,
    ) -> None:
        self._models = models
        self._prompts = library.prompts
        self._languages = library.languages
        self._telemetry = telemetry
        self._clock = clock
        settings, self._quota, self._payloads = rules.settings, rules.quota, rules.payloads
        self._logs = self._payloads.always or self._payloads.custom_models
        self._limiter = rules.limiter if settings.suggestions_per_minute else None
        self._per_minute = settings.suggestions_per_minute
        self._region = settings.region
        self._least_scores = settings.score_thresholds
        self._polish = Polish(settings.skipped_post_processing)
        self._syntax = Syntax()
        self._disallowed = {
            realm: frozenset(flags) for realm, flags in settings.disallowed_flags.items()
        }

    def whole(
        self, request: SuggestRequest, caller: Caller, client: ClientInfo
    ) -> Awaitable[Suggestion]:
        """The suggestion in one piece, made to fit its place.

        Raises what Limiter and Quota raise, Forbidden, Invalid, Rejected, Unavailable, NotBuilt for
        Amazon Q, or what the model raises; of several variants, what the first one raised.
        """
        if self._quota is None and self._limiter is None and not request.variants:
            prompt = self._allow(request, caller, client)
            return self._whole(request, prompt, caller, client, last=True)

        def serve(one: SuggestRequest, prompt: Prompt, *, last: bool) -> Awaitable[Suggestion]:
            return self._whole(one, prompt, caller, client, last=last)

        return self._first(request, caller, client, serve)

    def stream(
        self, request: SuggestRequest, caller: Caller, client: ClientInfo
    ) -> Awaitable[SuggestionStream]:
        """The suggestion as the model writes it, untrimmed but for the fences of a generation.

        Waits for the first text; raises what `whole` raises until then, and later with the text.
        """

        def serve(
            one: SuggestRequest, prompt: Prompt, *, last: bool
        ) -> Awaitable[SuggestionStream]:
            return self._begun(one, prompt, caller, client, last=last)

        return self._first(request, caller, client, serve)

    async def _first(
        self,
        request: SuggestRequest,
        caller: Caller,
        client: ClientInfo,
        serve: Serve[T],
    ) -> T:
        """What the first variant answers that can be served. Credits are asked for once."""
        if self._limiter is not None:
            user = f"{caller.instance_id} {caller.global_user_id or caller.subject}"
            await self._limiter.take(LimitKey("suggestions", user, self._per_minute, 60.0), 1)
        if self._quota is not None:
            wish, event = request.wish, FEATURE[request.kind]
            name = wish.model_id or (wish.metadata.name if wish.metadata else "")
            await self._quota.check(Use(event, BILLED, name), caller, client)
        until_s = self._clock.now_s() + TRYING_S
        failure: Failure | None = None
        variants = (request, *request.variants)
        for one in variants:
            if failure is not None and self._clock.now_s() > until_s:
                break
            try:
                prompt = self._allow(one, caller, client, tell=failure is None)
                return await serve(one, prompt, last=one is variants[-1])
            except _ANOTHER_MAY as error:
                failure = failure or error
        raise failure or Unavailable(_NOT_SERVED)

    def _allow(
        self, request: SuggestRequest, caller: Caller, client: ClientInfo, *, tell: bool = True
    ) -> Prompt:
        """The prompt, if the caller may use it. Raises Forbidden, Invalid."""
        scope = _AMAZON_Q_SCOPE if request.wish.amazon_q else SCOPE[request.kind]
        require(caller, (scope,), request.refusal, self_issued=request.self_issued)
        if request.prompt_id:
            prompt = self._registered(request)
            scopes = (prompt.unit_primitive,)
            require(caller, scopes, request.refusal, self_issued=request.self_issued)
        else:
            prompt = self._prompts.get(_PROMPT[request.kind])
        if tell:
            self._telemetry.emit(FeatureUsed(scope, caller, client, FEATURE[request.kind], BILLED))
            if request.counts:
                for fact in judged(request.counts, FEATURE[request.kind], caller.who):
                    self._telemetry.emit(fact)
        return prompt

    def _registered(self, request: SuggestRequest) -> Prompt:
        try:
            return self._prompts.get(request.prompt_id, request.prompt_version)
        except NotFound as error:
            fault = FieldError("prompt_id", "no such prompt or version")
            raise Invalid("Validation error", (fault,)) from error

    async def _whole(
        self,
        request: SuggestRequest,
        prompt: Prompt,
        caller: Caller,
        client: ClientInfo,
        *,
        last: bool,
    ) -> Suggestion:
        plan, origin = self._prepare(request, prompt, caller, client, last=last)
        if plan is None:
            return Suggestion("", origin)
        answer = await self._models.whole(plan.ask, plan.choice, caller)
        if answer.choice is not None:
            plan, origin = plan.by(answer.choice), stood_in(origin, answer.choice)
        usage, limit = answer.usage, plan.ask.max_tokens or plan.choice.max_output_tokens
        capped = answer.finish == "length" or (usage is not None and usage.output_tokens >= limit)
        if plan.choice.provider in COMPLETION and not self._syntax.ready(plan.language.grammar):
            await self._syntax.prepare(plan.language.grammar)
        text = self._trimmed(answer, request, plan, truncated=capped)
        if (self._logs or origin.flags) and self._payloads.allows(client):
            self._telemetry.emit(seen("Code is suggested.", text=text))
        return Suggestion(
            text=text,
            origin=origin,
            usage=usage,
            max_output_tokens_used=capped,
            context_tokens_sent=plan.cut.context_tokens_sent,
            context_tokens_used=plan.cut.context_tokens_used,
        )

    async def _begun(
        self,
        request: SuggestRequest,
        prompt: Prompt,
        caller: Caller,
        client: ClientInfo,
        *,
        last: bool,
    ) -> SuggestionStream:
        if not request.streaming:
            request = replace(request, streaming=True)
        plan, origin = self._prepare(request, prompt, caller, client, last=last)
        served: list[ModelChoice] = []
        texts = _nothing() if plan is None else self._texts(plan, caller, served)
        if request.kind == "generation":
            texts = without_fences(texts)
        first = ""
        async for text in texts:
            if text:
                first = text
                break
        if served:
            origin = stood_in(origin, served[0])
        return SuggestionStream(_resumed(first, texts), origin)

    def _prepare(
        self,
        request: SuggestRequest,
        prompt: Prompt,
        caller: Caller,
        client: ClientInfo,
        *,
        last: bool,
    ) -> tuple[Plan | None, Origin]:
        language = self._languages.of(request.file_name, request.editor_language)
        if not language.id:
            language = self._languages.by_content(language, request.above)
        self._telemetry.emit(SuggestionAsked(language.id, language.extension, language.editor))
        flags = effective(client, self._disallowed)
        choice = _choose(self._models.of(caller.who), request, prompt, flags)
        reported = request.by_prompt_name or bool(request.prompt_id)
        by_prompt = request.kind == "generation" and reported
        origin = Origin(
            engine="agent" if by_prompt else choice.engine,
            name=prompt.name if by_prompt else choice.id,
            language=language.id,
            region=self._region,
            flags=flags,
            choice=choice,
            prompt_name=prompt.name,
        )
        if (self._logs or flags) and self._payloads.allows(client):
            asked = {"prefix": request.above, "suffix": request.below}
            self._telemetry.emit(seen("Code is asked for.", file=request.file_name, **asked))
        if not language.name:
            return None, origin
        allowed = not request.context_gated or _recent(client)
        context = request.context if allowed else ()
        others = _others(request) if last else "none"
        return Wording(request, context, prompt, language, others).first(choice), origin

    async def _texts(
        self, plan: Plan, caller: Caller, served: list[ModelChoice]
    ) -> AsyncGenerator[str, None]:
        """The texts; `served` gets the model that stands in, if one does."""
        reasoning = Reasoning() if plan.choice.reasoning_hidden else None
        async with aclosing(self._models.stream(plan.ask, plan.choice, caller)) as deltas:
            async for delta in deltas:
                if delta.choice is not None:
                    served.append(delta.choice)
                    reasoning = Reasoning() if delta.choice.reasoning_hidden else None
                text = delta.text if reasoning is None else reasoning.feed(delta.text)
                if text:
                    yield text
        if reasoning is not None and (rest := reasoning.finish()):
            yield rest

    def _trimmed(
        self, answer: Answer, request: SuggestRequest, plan: Plan, *, truncated: bool
    ) -> str:
        began_s = self._clock.now_s()
        choice, language, text = plan.choice, plan.language, answer.text
        if choice.reasoning_hidden:
            reasoning = Reasoning()
            text = reasoning.feed(text) + reasoning.finish()
        if request.kind == "completion":
            steps = self._polish.completion(choice.provider, fills=choice.fills)
        else:
            steps = self._polish.generation(request.made_for)
        place = Place(
            request.above,
            request.below,
            language.id,
            language.comments,
            self._syntax.parser(language.grammar),
            truncated,
            answer.score,
            self._least_scores.get(choice.upstream) if self._least_scores else None,
        )
        trimmed = trim(text, place, steps)
        self._telemetry.emit(SuggestionTrimmed(self._clock.now_s() - began_s))
        return trimmed


def _others(request: SuggestRequest) -> Others:
    """Who may answer instead: for a model that was asked for, none but the local completer."""
    if request.wish is ANY:
        return "any"
    return "floor" if request.kind == "completion" else "none"


def _choose(
    models: Models, request: SuggestRequest, prompt: Prompt, flags: tuple[str, ...]
) -> ModelChoice:
    kind, feature = request.kind, FEATURE[request.kind]
    if request.wish is not ANY:
        choice = _wished(models, feature, request.wish, flags)
        if choice is not None:
            return _usable(choice, kind)
    elif prompt.pinned_model:
        # A pin may be older than this server's list of models, or than its keys.
        with suppress(Forbidden, NotFound, Unavailable):
            return models.choose(feature, prompt.pinned_model)
    try:
        found = models.resolve(None, feature, flags) if flags else None
        return _usable(found or models.choose(feature), kind)
    except Unavailable as error:
        raise Unavailable(_NO_MODEL if kind == "generation" else error.detail) from error


def _wished(models: Models, feature: str, wish: Wish, flags: tuple[str, ...]) -> ModelChoice | None:
    """The model that is asked for; None when the default serves instead."""
    if wish.amazon_q:
        raise NotBuilt(_NO_AMAZON_Q)
    try:
        if wish.metadata is not None:
            choice = models.resolve(wish.metadata, feature, flags)
            target = choice.target
            nowhere = choice.provider == "custom" and not (target and target.base_url)
            if nowhere or (not wish.or_default and choice.id != wish.metadata.name):
                raise Rejected(_NOT_SERVED)
            return choice
        return models.choose(feature, wish.model_id) if wish.model_id else None
    except (NotFound, Unavailable) as error:
        if not wish.or_default:
            raise Rejected(_NOT_SERVED) from error
        return None


def _usable(choice: ModelChoice, kind: Kind) -> ModelChoice:
    if kind == "generation" and choice.provider in CANNOT_CHAT:
        raise Unavailable(_NO_MODEL)
    return choice


def _recent(client: ClientInfo) -> bool:
    match = _VERSION.match(client.get("x-gitlab-language-server-version"))
    return match is not None and tuple(map(int, match.groups())) >= _CONTEXT_SINCE


async def _resumed(first: str, rest: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    async with aclosing(rest):
        if first:
            yield first
            async for text in rest:
                yield text


async def _nothing() -> AsyncGenerator[str, None]:
    for text in ():
        yield text

"""Runs a registered prompt: its version, the model, the permission, and the call.

Source: HTTP gateway contract, sections 6.1 to 6.4.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from isthmus.auth.scopes import require
from isthmus.core.errors import FieldError, Forbidden, Invalid, NotFound, Unavailable
from isthmus.core.events import FeatureUsed
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.messages import Chat, Delta, Infill, ModelChoice, ModelMetadata, Usage
from isthmus.core.ports import Clock, Telemetry
from isthmus.gateway.flags import effective
from isthmus.gateway.payloads import NO_PAYLOADS, PayloadPolicy, seen
from isthmus.gateway.reasoning import Reasoning
from isthmus.prompts.feature import feature_of
from isthmus.prompts.registry import Prompt, Registry
from isthmus.prompts.shape import shaped
from isthmus.routing.ask import Ask
from isthmus.routing.models import Models
from isthmus.settings import ModelsSettings

USUAL = "^1.0.0"
NO_INPUTS: Mapping[str, object] = MappingProxyType({})
_CHAT = "chat/"
_ELSEWHERE: Mapping[str, str] = {
    "chat/react": "POST /v2/chat/agent",
    "embeddings_code": "POST /v1/embeddings/code_embeddings",
}
"""Prompts whose inputs are more than JSON can say -> who makes those."""
_AROUND_CURSOR = ("prefix", "suffix", "file_name", "language")


class Invocation(Struct, frozen=True):
    """A prompt to be run. `version` is exact, or a constraint; `model` None is the default."""

    prompt_id: str
    version: str = USUAL
    inputs: Mapping[str, object] = NO_INPUTS
    model: ModelMetadata | None = None
    streaming: bool = False


class Prepared(Struct, frozen=True):
    """A call that was allowed and rendered."""

    ask: Ask
    choice: ModelChoice


class Told(Struct, frozen=True, gc=False):
    """A whole answer, and the name under which its tokens are reported."""

    text: str
    model: str
    usage: Usage | None


class Invoke:
    """Registered prompts, for callers by name and for the use cases that build their inputs."""

    def __init__(
        self,
        models: Models,
        prompts: Registry,
        telemetry: Telemetry,
        clock: Clock,
        settings: ModelsSettings,
        payloads: PayloadPolicy = NO_PAYLOADS,
    ) -> None:
        self._models = models
        self._prompts = prompts
        self._telemetry = telemetry
        self._payloads = payloads
        self._clock = clock
        self._chat_max_tokens = settings.chat_max_tokens
        self._timeout_s = settings.chat_timeout_s

    def prepare(self, request: Invocation, caller: Caller, client: ClientInfo) -> Prepared:
        """Everything before the model is called.

        Raises NotFound for a prompt, version or feature that there is not, Forbidden, Rejected for
        a model that may not be asked for, Invalid for inputs that do not fit, Unavailable.
        """
        prompt = self.prompt(request.prompt_id, request.version)
        primitive = prompt.unit_primitive
        require(caller, (primitive,), f"Unauthorized to access '{request.prompt_id}'")
        self._telemetry.emit(FeatureUsed(primitive, caller, client))
        if self._payloads.allows(client):
            self._telemetry.emit(seen("A prompt is run.", prompt=prompt.id, inputs=request.inputs))
        elsewhere = _ELSEWHERE.get(prompt.id)
        if elsewhere is not None:
            detail = f"The inputs of '{prompt.id}' are made by {elsewhere}; call that."
            raise Invalid(detail, (FieldError("inputs.*", f"made by {elsewhere}"),))
        choice = self.choice(prompt, request.model, caller, client)
        only = request.model is not None
        return self.rendered(prompt, choice, request.inputs, streaming=request.streaming, only=only)

    def prompt(self, prompt_id: str, version: str = USUAL) -> Prompt:
        """The version that is wanted. Raises NotFound."""
        return self._prompts.get(prompt_id, version)

    def choice(
        self, prompt: Prompt, wanted: ModelMetadata | None, caller: Caller, client: ClientInfo
    ) -> ModelChoice:
        """The model that runs the prompt. Raises Rejected, Forbidden, NotFound, Unavailable."""
        feature, models = feature_of(prompt.id), self._models.of(caller.who)
        if wanted is None and prompt.pinned_model:
            # A pin may be older than this server's list of models, or than its keys.
            with suppress(Forbidden, NotFound, Unavailable):
                return models.choose(feature, prompt.pinned_model)
        return models.resolve(wanted, feature, effective(client, self._payloads.barred))

    def rendered(
        self,
        prompt: Prompt,
        choice: ModelChoice,
        inputs: Mapping[str, object],
        *,
        streaming: bool,
        only: bool = False,
    ) -> Prepared:
        """The call for these inputs; permission is not looked at. Raises Invalid, TooLarge.

        With `only`, no other model may stand in.
        """

        def again(other: ModelChoice) -> Ask:
            return self.rendered(prompt, other, inputs, streaming=streaming, only=True).ask

        variables = {"current_date": self._clock.utc().strftime("%B %d, %Y"), **inputs}
        limit = prompt.params.max_tokens
        if prompt.id.startswith(_CHAT):
            limit = self._chat_max_tokens or limit
        ask = Ask(
            feature=feature_of(prompt.id),
            unit_primitive=prompt.unit_primitive,
            prompt=_worded(prompt, choice, variables),
            max_tokens=limit,
            temperature=prompt.params.temperature,
            stop=prompt.stop,
            streaming=streaming,
            tuning=prompt.tuning(choice.provider),
            timeout_s=prompt.timeout_s or self._timeout_s,
            again=None if only else again,
        )
        return Prepared(ask, choice)

    async def whole(self, prepared: Prepared, caller: Caller) -> Told:
        """The answer in one piece. Raises what the model raises."""
        answer = await self._models.whole(prepared.ask, prepared.choice, caller)
        choice = answer.choice or prepared.choice
        text = answer.text
        if choice.reasoning_hidden:
            reasoning = Reasoning()
            text = reasoning.feed(text) + reasoning.finish()
        foreign = choice.target is not None and choice.target.base_url
        return Told(text, choice.id if foreign else model_name(choice), answer.usage)

    def stream(self, prepared: Prepared, caller: Caller) -> AsyncGenerator[Delta, None]:
        """The answer as it is written; raises what the model raises. Close it to stop the model."""
        deltas = self._models.stream(prepared.ask, prepared.choice, caller)
        return _shown(deltas, prepared.choice)


def model_name(choice: ModelChoice) -> str:
    """The name under which a stream reports its tokens: the provider's own, where it is known."""
    return choice.upstream or choice.id


async def _shown(
    deltas: AsyncGenerator[Delta, None], choice: ModelChoice
) -> AsyncGenerator[Delta, None]:
    """The deltas without what the model says to itself."""
    reasoning = Reasoning() if choice.reasoning_hidden else None
    async with aclosing(deltas):
        async for delta in deltas:
            if delta.choice is not None:
                reasoning = Reasoning() if delta.choice.reasoning_hidden else None
            if reasoning is None:
                yield delta
                continue
            text = reasoning.feed(delta.text)
            if delta.finish is not None:
                text += reasoning.finish()
            yield replace(delta, text=text)


def _worded(prompt: Prompt, choice: ModelChoice, variables: Mapping[str, object]) -> Chat | Infill:
    """A conversation; for models that fill in, the text around the cursor alone."""
    messages = prompt.messages(variables)
    around = [variables.get(name) for name in _AROUND_CURSOR]
    texts = [text for text in around if isinstance(text, str)]
    if choice.fills and len(texts) == len(around):
        prefix, suffix, file_name, language = texts
        return Infill(prefix, suffix, file_name, language)
    return Chat(shaped(messages, choice))

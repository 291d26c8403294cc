"""Chat that reasons by steps and asks its caller to run tools.

Source: HTTP gateway contract, section 5.2.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import asdict

from isthmus.auth.scopes import allowed, require
from isthmus.core.errors import (
    FieldError,
    Forbidden,
    Invalid,
    LimitExceeded,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimeout,
    Withheld,
)
from isthmus.core.events import FeatureUsed
from isthmus.core.identity import Caller, ClientInfo
from isthmus.core.messages import Finish, Message, ModelMetadata, Role, Text, Usage
from isthmus.core.ports import Telemetry
from isthmus.gateway.hints import AMAZON_Q
from isthmus.gateway.invoke import Invoke, Prepared, model_name
from isthmus.gateway.react import Event, Reader, ToolAction, unescaped
from isthmus.gateway.readers import offered

PROMPT = "chat/react"
MENTION = "@GitLabDuo"
UNAVAILABLE = ("merge requests, pipelines, vulnerabilities",)
"""What a model is told not to know of, when the caller does not say."""
_AMAZON_Q_SCOPE = "amazon_q_integration"
_BASE_SCOPE = "duo_chat"
_NO_CHAT = "Unauthorized to access duo chat"
_NO_CLASSIC_CHAT = "Duo Core no longer authorized to access Duo Classic Chat"


class Step(Struct, frozen=True, gc=False):
    """What the model did before, and what came of it."""

    thought: str
    tool: str
    tool_input: str
    observation: str


class Turn(Struct, frozen=True):
    """One message, with what its author was looking at. None was not given."""

    role: Role
    content: str | None = None
    context: Mapping[str, object] | None = None
    current_file: Mapping[str, object] | None = None
    additional_context: Sequence[Mapping[str, object]] = ()


class ChatRequest(Struct, frozen=True):
    """A conversation to be gone on with, and the steps of the answer so far."""

    turns: Sequence[Turn]
    steps: Sequence[Step] = ()
    model: ModelMetadata | None = None
    unavailable: Sequence[str] = UNAVAILABLE


class ChatFailed(Struct, frozen=True, gc=False):
    """The answer ends here; `retryable` when the model's server was too busy."""

    message: str
    retryable: bool = False


class Spent(Struct, frozen=True, gc=False):
    """The tokens of the answer."""

    model: str
    usage: Usage


ChatEvent: TypeAlias = Event | ChatFailed | Spent
NO_TOOL = ChatFailed("tool not available")


class ChatStream(Struct, frozen=True):
    """An answer as it is written; close `events` to stop the model. `tools` were offered."""

    events: AsyncGenerator[ChatEvent, None]
    unit_primitive: str
    tools: tuple[str, ...] = ()


class ReactChat:
    """The chat agent."""

    def __init__(self, invoke: Invoke, telemetry: Telemetry) -> None:
        self._invoke = invoke
        self._telemetry = telemetry

    def open(self, request: ChatRequest, caller: Caller, client: ClientInfo) -> ChatStream:
        """The answer's events.

        Raises Forbidden, and what `Invoke.prepare` raises. When the model fails, the events end in
        a ChatFailed and then raise its failure.
        """
        prompt = self._invoke.prompt(PROMPT)
        by_amazon_q = request.model is not None and request.model.provider == AMAZON_Q
        primitive = _AMAZON_Q_SCOPE if by_amazon_q else prompt.unit_primitive
        _permit(request.turns, primitive, caller)
        self._telemetry.emit(FeatureUsed(primitive, caller, client))
        every = by_amazon_q and allowed(caller, (_AMAZON_Q_SCOPE,))
        readers = offered(caller, client, every=every)
        tools = tuple(reader.name for reader in readers)
        inputs = _inputs(request) | {"tools": [reader.told() for reader in readers]}
        choice = self._invoke.choice(prompt, request.model, caller, client)
        only = request.model is not None
        prepared = self._invoke.rendered(prompt, choice, inputs, streaming=True, only=only)
        return ChatStream(self._events(prepared, caller, tools), primitive, tools)

    async def _events(
        self, prepared: Prepared, caller: Caller, tools: tuple[str, ...]
    ) -> AsyncGenerator[ChatEvent, None]:
        reader = Reader()
        usage: Usage | None = None
        finish: Finish | None = None
        choice, begun = prepared.choice, False
        try:
            async with aclosing(self._invoke.stream(prepared, caller)) as deltas:
                async for delta in deltas:
                    begun = True
                    choice = delta.choice or choice
                    usage, finish = delta.usage or usage, delta.finish or finish
                    for event in reader.feed(delta.text):
                        yield _offered(event, tools)
        except (UpstreamFailed, UpstreamTimeout) as failure:
            yield ChatFailed(failure.detail, _overloaded(failure))
            raise
        except (LimitExceeded, Withheld) as failure:
            # Before anything was said it is a refusal, which has a status of its own.
            if begun:
                yield ChatFailed(failure.detail)
            raise
        for event in reader.finish(finish):
            yield _offered(event, tools)
        if usage is not None:
            yield Spent(model_name(choice), usage)


def _permit(turns: Sequence[Turn], primitive: str, caller: Caller) -> None:
    """Chat itself first, then each kind of context. Raises Forbidden."""
    if not allowed(caller, (primitive,)):
        require(caller, (_BASE_SCOPE,), _NO_CHAT)
        newest = next((t.content for t in reversed(turns) if _asks(t)), None)
        if MENTION not in (newest or ""):
            raise Forbidden(_NO_CLASSIC_CHAT)
    categories = (item["category"] for turn in turns for item in turn.additional_context)
    for category in dict.fromkeys(categories):
        scope = f"include_{category}_context"
        require(caller, (scope,), f"Unauthorized to access {scope}")


def _asks(turn: Turn) -> bool:
    return turn.role == "user" and bool(turn.content)


def _inputs(request: ChatRequest) -> dict[str, object]:
    """The prompt's variables: the newest question, what was said before, and what was done."""
    newest = next((i for i in range(len(request.turns) - 1, -1, -1) if _asks(request.turns[i])), -1)
    if newest < 0:
        raise Invalid("Validation error", (FieldError("messages", "hold no question"),))
    turns = request.turns[: newest + 1]
    return {
        "history": [
            Message(turn.role, (Text(turn.content),)) for turn in turns[:-1] if turn.content
        ],
        "question": turns[-1].content,
        "context": next((t.context for t in reversed(turns) if t.context), None),
        "current_file": next((t.current_file for t in reversed(turns) if t.current_file), None),
        "additional_context": [item for turn in turns for item in turn.additional_context],
        "agent_scratchpad": [
            asdict(step) | {"thought": unescaped(step.thought), "tool": unescaped(step.tool)}
            for step in request.steps
        ],
        "unavailable_resources": list(request.unavailable),
    }


def _offered(event: Event, tools: tuple[str, ...]) -> ChatEvent:
    return NO_TOOL if isinstance(event, ToolAction) and event.tool not in tools else event


def _overloaded(failure: UpstreamFailed | UpstreamTimeout) -> bool:
    """Whether the server was too busy for anybody, which is not a limit on this caller."""
    return isinstance(failure, UpstreamLimited) and failure.status != 429

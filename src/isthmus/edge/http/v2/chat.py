"""`POST /v2/chat/agent`: the wire of chat that asks its caller to run tools.

Source: HTTP gateway contract, section 5.2.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from isthmus.core.errors import Rejected
from isthmus.core.messages import Role
from isthmus.edge.http import refusals
from isthmus.edge.http.auth import caller_of, client_of
from isthmus.edge.http.body import decoder, read
from isthmus.edge.http.endpoint import Endpoint
from isthmus.edge.http.exchange import EXCHANGE, Exchange
from isthmus.edge.http.lines import line_stream
from isthmus.edge.http.metadata import ABSENT, lenient
from isthmus.edge.http.v2.prompts import Tokens, tokens
from isthmus.edge.services import Services
from isthmus.gateway.chat import (
    UNAVAILABLE,
    ChatEvent,
    ChatFailed,
    ChatRequest,
    ChatStream,
    Spent,
    Step,
    Turn,
)
from isthmus.gateway.react import AnswerDelta, ToolAction, Unknown

_MISPLACED = "agent_scratchpad can only be present when role is ASSISTANT"
_TITLED = frozenset({"commit", "epic", "issue", "merge_request", "work_item"})


class Context(Struct, frozen=True):
    """What the user looks at: its text, or its title; a build may have neither."""

    type: Literal["issue", "epic", "merge_request", "commit", "build", "work_item"]
    title: str | None = None
    content: str | None = None

    def __post_init__(self) -> None:
        told = self.title is not None if self.type in _TITLED else True
        if not told and (self.content is None or self.type == "work_item"):
            raise ValueError("`title` or `content` is needed")


class CurrentFile(Struct, frozen=True):
    """The file that is open, or what is selected in it."""

    file_path: str
    data: str
    selected_code: bool


class AdditionalContext(Struct, frozen=True):
    """Something else that the user gives along."""

    category: Literal[
        "file",
        "snippet",
        "merge_request",
        "issue",
        "dependency",
        "local_git",
        "terminal",
        "repository",
        "directory",
        "os_information",
        "agent_user_environment",
    ]
    id: str | None = None
    content: str | None = None
    metadata: dict[str, object] | None = None


class Action(Struct, frozen=True):
    """A tool that the model asked for."""

    tool: str
    tool_input: str
    thought: str
    type: Literal["action"] = "action"


class MessageStep(Struct, frozen=True):
    """A step of an answer that is not at its end."""

    action: Action | None = None
    observation: str = ""


class AgentMessage(Struct, frozen=True):
    """One turn."""

    role: Role
    content: str | None = None
    context: Context | None = None
    current_file: CurrentFile | None = None
    additional_context: list[AdditionalContext] | None = None
    agent_scratchpad: list[MessageStep] | None = None


class Scratchpad(Struct, frozen=True):
    """The steps so far."""

    agent_type: Literal["react"]
    steps: list[Step]


class AgentOptions(Struct, frozen=True):
    """Steps given beside the messages; they count instead of a message's."""

    agent_scratchpad: Scratchpad


class AgentBody(Struct, frozen=True):
    """The conversation, oldest message first."""

    messages: Annotated[list[AgentMessage], Meta(min_length=1)]
    options: AgentOptions | None = None
    unavailable_resources: list[str] | None = None
    model_metadata: msgspec.Raw = msgspec.field(default_factory=lambda: ABSENT)


class UsageData(Struct, frozen=True):
    """Tokens by model."""

    usage: dict[str, Tokens]


class Line(Struct, frozen=True):
    """One line of the answer. `data` of all but the tokens is the event itself."""

    type: Literal["final_answer_delta", "action", "unknown", "error", "usage"]
    data: AnswerDelta | ToolAction | Unknown | ChatFailed | UsageData


def chat_request(body: AgentBody) -> ChatRequest:
    """The body as a request. Raises Rejected for steps in a message that is not the assistant's."""
    if any(one.agent_scratchpad and one.role != "assistant" for one in body.messages):
        raise Rejected(_MISPLACED)
    unavailable = body.unavailable_resources
    return ChatRequest(
        turns=[_turn(message) for message in body.messages],
        steps=_steps(body),
        model=lenient(body.model_metadata),
        unavailable=UNAVAILABLE if unavailable is None else unavailable,
    )


def _turn(message: AgentMessage) -> Turn:
    return Turn(
        role=message.role,
        content=message.content,
        context=message.context and _told(message.context),
        current_file=message.current_file and _told(message.current_file),
        additional_context=[_told(item) for item in message.additional_context or ()],
    )


def _told(part: Struct) -> dict[str, object]:
    """The members that were given."""
    members: dict[str, object] = msgspec.structs.asdict(part)
    return {name: value for name, value in members.items() if value is not None}


def _steps(body: AgentBody) -> Sequence[Step]:
    if body.options is not None:
        return body.options.agent_scratchpad.steps
    last = body.messages[-1]
    if last.content is not None:
        return []
    return [
        Step(step.action.thought, step.action.tool, step.action.tool_input, step.observation)
        for step in last.agent_scratchpad or ()
        if step.action is not None
    ]


def line(event: ChatEvent) -> Line:
    """An event as it goes out."""
    match event:
        case AnswerDelta():
            return Line("final_answer_delta", event)
        case ToolAction():
            return Line("action", event)
        case Unknown():
            return Line("unknown", event)
        case ChatFailed():
            return Line("error", event)
        case Spent(model, usage):
            return Line("usage", UsageData(tokens(model, usage)))


async def _lines(stream: ChatStream, exchange: Exchange) -> AsyncGenerator[Line, None]:
    async with aclosing(stream.events) as events:
        async for event in events:
            if isinstance(event, ToolAction):
                exchange.fields.append(("duo_chat.agent_tool_action", event.tool))
            yield line(event)


def routes(services: Services) -> list[Endpoint]:
    """The one route of this module."""
    read_body = decoder(AgentBody)

    async def agent(request: Request) -> Response:
        exchange: Exchange = request.scope[EXCHANGE]
        exchange.refuse = refusals.prompts
        asked = chat_request(read_body(await read(request)))
        stream = services.chat.open(asked, caller_of(request), client_of(request))
        exchange.fields += (
            ("meta.feature_category", "duo_chat"),
            ("meta.unit_primitive", stream.unit_primitive),
            ("duo_chat.agent_available_tools", stream.tools),
        )
        return line_stream(_lines(stream, exchange))

    return [
        Endpoint(
            method="POST",
            path="/v2/chat/agent",
            handle=agent,
            summary="Go on with a conversation, by tools where they help",
            body=AgentBody,
            stream_type="application/x-ndjson",
        )
    ]

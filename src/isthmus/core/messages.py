"""What goes to a model and what comes back: one vocabulary for every provider and every route."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from msgspec import Struct, structs

Role: TypeAlias = Literal["system", "user", "assistant"]
Finish: TypeAlias = Literal["stop", "length", "tool_use", "refused"]


class Text(Struct, frozen=True, gc=False):
    """Plain text in a message."""

    text: str


class ToolUse(Struct, frozen=True, gc=False):
    """A model asks for a tool. `arguments` is the JSON text of an object, as the model wrote it."""

    id: str
    name: str
    arguments: str


class ToolResult(Struct, frozen=True, gc=False):
    """What a tool answered to the `ToolUse` with the same id."""

    tool_use_id: str
    text: str
    failed: bool = False


Part: TypeAlias = Text | ToolUse | ToolResult


class Message(Struct, frozen=True, gc=False):
    """One turn. Tool uses stand in assistant messages, tool results in user messages."""

    role: Role
    parts: tuple[Part, ...]


class ToolSpec(Struct, frozen=True, gc=False):
    """A tool as a model sees it; `schema` is the JSON Schema of its arguments."""

    name: str
    description: str
    schema: Mapping[str, object]


class Chat(Struct, frozen=True, gc=False):
    """A conversation. System messages come first. `calls`: the answer has to call a tool."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    calls: bool = False


class ContextItem(Struct, frozen=True, gc=False):
    """A piece of another file or note that may help a completion."""

    kind: str
    name: str
    content: str


class Infill(Struct, frozen=True, gc=False):
    """Text around a cursor to be filled in."""

    prefix: str
    suffix: str
    file_name: str = ""
    language: str = ""
    context: tuple[ContextItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A server and a key that the caller brings for one call, instead of the provider's own.

    An empty part was not given. `base_url` has no trailing slash.
    """

    base_url: str = ""
    api_key: str = field(default="", repr=False)


class Tuning(Struct, frozen=True, gc=False):
    """What else a model is told. Only what is given is sent; a dialect leaves out what it has not.

    `effort` and `summary` are reasoning settings, `verbosity` OpenAI's. `fim_format` is a template
    with `{prefix}` and `{suffix}` for servers that complete plain text. `headers` go with the call.
    """

    top_p: float | None = None
    top_k: int | None = None
    effort: str | int | None = None
    summary: str | None = None
    verbosity: str | None = None
    thinking_level: str | None = None
    fim_format: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def over(self, other: "Tuning") -> "Tuning":
        """What either says; where both do, this one. Headers are joined."""
        mine = {
            name: value
            for name in self.__struct_fields__
            if (value := getattr(self, name)) is not None and value != ""
        }
        return structs.replace(other, **mine | {"headers": (*other.headers, *self.headers)})


PLAIN = Tuning()


class ModelCall(Struct, frozen=True, gc=False):
    """One call to one model. `model` is the provider's own name for it.

    `max_tokens` is the cap on output tokens; `temperature` and `stop` are sent only when given.
    """

    model: str
    prompt: Chat | Infill
    max_tokens: int
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    tuning: Tuning = PLAIN
    target: Target | None = None
    alone: bool = True
    """Whether nobody else can serve it, so that a failed try is repeated at the same place."""


class Usage(Struct, frozen=True, gc=False):
    """Tokens of one call.

    `input_tokens` includes those read from a cache and written to it, `output_tokens` those of
    reasoning.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


class Delta(Struct, frozen=True, gc=False):
    """One step of a model's answer.

    Text comes as it is produced; a tool use comes once, whole. The last delta of a stream that
    ended well carries `finish` and, when the provider tells, `usage` and `score`, its confidence.
    A stream that breaks raises. Deltas with nothing but `usage` may come at any time: what is known
    so far, in case there is no end.
    """

    text: str = ""
    tool_use: ToolUse | None = None
    finish: Finish | None = None
    usage: Usage | None = None
    message_id: str = ""
    score: float | None = None
    choice: "ModelChoice | None" = None
    """On the first delta: the model that answers, where it is another than was asked for."""


class Answer(Struct, frozen=True, gc=False):
    """A whole answer: all deltas of a stream put together."""

    text: str
    tool_uses: tuple[ToolUse, ...]
    finish: Finish
    usage: Usage | None
    message_id: str = ""
    score: float | None = None
    choice: "ModelChoice | None" = None
    """The model that answered, where it is another than was asked for."""


class Gathering:
    """Deltas on their way to becoming an Answer; `began` is told of the first one."""

    def __init__(self, began: Callable[[], None] | None = None) -> None:
        self._began = began
        self._texts: list[str] = []
        self._tools: list[ToolUse] = []
        self._message_id = ""
        self.empty = True
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self._score: float | None = None

    def add(self, deltas: Iterable[Delta]) -> None:
        """Take the next deltas, in order."""
        for delta in deltas:
            if self.empty:
                self.empty = False
                if self._began is not None:
                    self._began()
            if delta.text:
                self._texts.append(delta.text)
            if delta.tool_use is not None:
                self._tools.append(delta.tool_use)
            if delta.finish is not None:
                self.finish, self._score = delta.finish, delta.score
            if delta.usage is not None:
                self.usage = delta.usage
            if delta.message_id:
                self._message_id = delta.message_id

    def answer(self) -> Answer:
        """What has come so far, as if it were all."""
        return Answer(
            "".join(self._texts),
            tuple(self._tools),
            self.finish or "stop",
            self.usage,
            self._message_id,
            self._score,
        )


async def gather(deltas: AsyncIterator[Delta], into: Gathering) -> None:
    """Put a stream into `into`, to its end. Raises what the stream raises."""
    async for delta in deltas:
        into.add((delta,))


async def collect(deltas: AsyncIterator[Delta]) -> Answer:
    """Read a stream to its end. Raises what the stream raises."""
    gathering = Gathering()
    await gather(deltas, gathering)
    return gathering.answer()


class EmbedCall(Struct, frozen=True, gc=False):
    """Texts to be turned into vectors by one model."""

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    drop_unsupported: bool = False
    """Whether settings that the model does not take may be left out silently."""
    target: Target | None = None
    alone: bool = True
    """As in `ModelCall`."""


class Embeddings(Struct, frozen=True, gc=False):
    """One vector a text, in the order of the texts."""

    vectors: Sequence[Sequence[float]]
    usage: Usage | None = None


class RawCall(Struct, frozen=True, gc=False):
    """A provider's own wire, passed through: the body goes out byte for byte.

    `path` starts with `/` and holds the query; `headers` are the caller's that the provider allows,
    lower-case names. `model` and `streaming` were read from the body or the path. `api_key` is the
    model's own, where the catalogue has one; else the provider's is used.
    """

    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    model: str
    streaming: bool
    api_key: str = ""
    base_url: str = ""
    """Where the model is served, where that is not the provider's own address."""

    def __repr__(self) -> str:
        return f"RawCall({self.path!r}, {self.model!r})"


def _on_its_way() -> None:
    return None


Seen: TypeAlias = Literal["", "content", "error"]
"""What a forwarded answer has come to: nothing yet, content, or an error of the provider's."""


def at_once(chunk: bytes) -> Seen:
    """The watcher of answers that nothing is known of: the first bytes are content."""
    return "content" if chunk else ""


class RawReply(Struct, frozen=True):
    """The provider's answer. `headers` are the ones that may go back to the caller.

    `chunks` yields the body as it arrives; it raises UpstreamFailed or UpstreamTimeout when it
    breaks. `meter` reads tokens from a chunk and returns what is known so far; pure, and told every
    chunk in order. `whole` gives the body when all of it is here already and none has been read;
    at None, read the chunks. `seen` is a watcher like `meter`: it says "content" from the first
    content on, and "error" once the provider's own error has passed, be it before content or after.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    chunks: AsyncIterator[bytes]
    meter: Callable[[bytes], Usage | None]
    whole: Callable[[], bytes | None] = _on_its_way
    seen: Callable[[bytes], Seen] = at_once


class OutboundRequest(Struct, frozen=True, gc=False):
    """An HTTP request of ours. `url` is absolute; header names are in lower case."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Destination(Struct, frozen=True, gc=False):
    """Where a call goes, as a guard's policy sees it."""

    feature: str
    provider: str
    deployment: str


class ModelChoice(Struct, frozen=True, gc=False):
    """The model that was resolved for a feature: what a session pins and a reply reports.

    `id` is the catalogue's identifier, `provider` our provider's name, `engine` the label that
    replies and metrics show, `upstream` the provider's own model name.
    """

    id: str
    provider: str
    engine: str
    upstream: str
    max_context_tokens: int = 200_000
    max_output_tokens: int = 8_192
    labels: tuple[str, ...] = ()
    temperature: float | None = None
    """What the catalogue says for this model; a prompt's own wins."""
    tuning: Tuning = PLAIN
    target: Target | None = None
    vendor: str = ""
    """The label that replies show for the provider, such as `Anthropic`."""
    fills: bool = False
    """Whether it completes text around a cursor, instead of talking."""
    prefill: bool = False
    """Whether a conversation may end with the beginning of its answer."""
    single_system: bool = False
    """Whether all system messages must be joined into one."""
    reasoning_hidden: bool = False
    """Whether `<think>` passages of its answers are left out."""
    brought: bool = False
    """Whether the caller said where it is served."""


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a caller says of the model that it wants, as the wire has it; "" was not given.

    Source: HTTP gateway contract, section 6.3.
    """

    provider: str
    name: str = ""
    identifier: str = ""
    endpoint: str = ""
    api_key: str = field(default="", repr=False)
    feature_setting: str = ""
    role_arn: str = ""

"""The scripted model: a labelled tour of a workspace, or a script file played turn by turn."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import msgspec

from isthmus.adapters.providers._script import Script, Turn, parse_script
from isthmus.adapters.providers._spec import ProviderFactory
from isthmus.adapters.providers._tour import LABEL, next_turn
from isthmus.core.deadline import Deadline
from isthmus.core.errors import Rejected, UpstreamTimeout
from isthmus.core.messages import (
    Chat,
    Delta,
    EmbedCall,
    Embeddings,
    Gathering,
    ModelCall,
    RawCall,
    RawReply,
    ToolUse,
    Usage,
    gather,
)
from isthmus.core.ports import Clock, Outbound
from isthmus.settings import OutboundSettings, ProvidersSettings

_PIECE = 48


class ScriptedProvider:
    """Implements `ModelProvider`. It looks only at the conversation that it is given."""

    forward_headers: frozenset[str] = frozenset()
    configured = True

    def __init__(
        self,
        clock: Clock,
        script: Script | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        pause_s: float = 0.0,
    ) -> None:
        self._clock = clock
        self._script = script
        self._pause_s = pause_s
        self._sleep = sleep

    @property
    def name(self) -> str:
        """The provider's name in settings and in the catalogue."""
        return "scripted"

    def forwards(self, path: str) -> bool:
        """There is no wire to forward to."""
        del path
        return False

    def forward(self, raw: RawCall, deadline: Deadline) -> AbstractAsyncContextManager[RawReply]:
        """Always raises Rejected."""
        del raw, deadline
        raise Rejected("The scripted model has no wire of its own.")

    async def whole(self, call: ModelCall, deadline: Deadline, into: Gathering) -> None:
        """The same, for who reads it at its end."""
        await gather(self.stream(call, deadline), into)

    async def embed(self, call: EmbedCall, deadline: Deadline) -> Embeddings:
        """Always raises Rejected."""
        del call, deadline
        raise Rejected("The scripted model makes no embeddings.")

    async def stream(self, call: ModelCall, deadline: Deadline) -> AsyncGenerator[Delta, None]:
        """The next turn for this conversation, in small pieces. Usage is characters / 4."""
        if not isinstance(call.prompt, Chat):
            raise Rejected("The scripted model serves conversations only.")
        text, tools, delay_s = self._turn(call.prompt)
        if delay_s:
            left_s = deadline.left_s(self._clock.now_s())
            await self._sleep(min(delay_s, left_s))
            if delay_s >= left_s:
                raise UpstreamTimeout("The script's delay outlasts the call.", "total")
        for start in range(0, len(text), _PIECE):
            yield Delta(text=text[start : start + _PIECE])
        for tool in tools:
            yield Delta(tool_use=tool)
        written = len(text) + sum(len(tool.arguments) for tool in tools)
        usage = Usage(input_tokens=_size(call.prompt) // 4, output_tokens=written // 4)
        yield Delta(finish="tool_use" if tools else "stop", usage=usage)

    def _turn(self, chat: Chat) -> tuple[str, tuple[ToolUse, ...], float]:
        if self._script is None:
            said = next_turn(chat)
            return said.text, () if said.tool_use is None else (said.tool_use,), self._pause_s
        number = sum(1 for message in chat.messages if message.role == "assistant")
        if number >= len(self._script.turns):
            return f"{LABEL} The script is over.", (), 0.0
        turn = self._script.turns[number]
        return f"{LABEL} {turn.text}".rstrip(), _uses(turn, number), turn.delay_ms / 1000.0


def build(
    settings: ProvidersSettings, outbound: Outbound, clock: Clock, limits: OutboundSettings
) -> ScriptedProvider | None:
    """The provider, unless it is switched off. Raises ScriptError for a script that is wrong."""
    del outbound, limits
    own = settings.scripted
    if not own.enabled:
        return None
    if own.script is None:
        return ScriptedProvider(clock, pause_s=own.pause_ms / 1000.0)
    try:
        data = own.script.read_bytes()
    except OSError as error:
        raise ValueError(f"providers.scripted.script: {error.strerror}") from error
    return ScriptedProvider(clock, parse_script(data))


def _uses(turn: Turn, number: int) -> tuple[ToolUse, ...]:
    return tuple(
        ToolUse(
            f"script_{number + 1}_{index + 1}",
            call.name,
            msgspec.json.encode(call.arguments).decode(),
        )
        for index, call in enumerate(turn.tools)
    )


def _size(chat: Chat) -> int:
    parts = [part for message in chat.messages for part in message.parts]
    return sum(len(p.arguments if isinstance(p, ToolUse) else p.text) for p in parts)


PROVIDER = ProviderFactory(build)

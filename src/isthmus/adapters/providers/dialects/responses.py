"""OpenAI's Responses API: calls and streamed answers; its usage and errors are chat's.

Source: OpenAI API reference, "Responses" and "Streaming events". Nothing is stored there.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from isthmus.adapters.providers._spec import Encoded, WireEvent
from isthmus.adapters.providers.dialects.failure import unreadable
from isthmus.adapters.providers.dialects.openai_report import Counts, Error, broken, usage_of
from isthmus.core.errors import UpstreamFailed
from isthmus.core.messages import (
    Chat,
    Delta,
    Finish,
    Message,
    ModelCall,
    Text,
    ToolResult,
    ToolUse,
    Usage,
)

TOOLS_LIMIT = 256
_encoder = msgspec.json.Encoder()


class _Item(Struct):
    type: str = ""
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class _Incomplete(Struct):
    reason: str = ""


class _Response(Struct):
    id: str = ""
    usage: Counts | None = None
    error: Error | None = None
    incomplete_details: _Incomplete | None = None


class _Event(Error):
    delta: object = None
    item: _Item | None = None
    response: _Response | None = None
    error: Error | None = None


_event = msgspec.json.Decoder(_Event)


def encode(call: ModelCall, chat: Chat, *, sampling: bool) -> Encoded:
    """A streaming request. There are no stop sequences here; `sampling` says if it may vary."""
    tuning = call.tuning
    reasoning = {"effort": tuning.effort, "summary": tuning.summary}
    body: dict[str, object] = {
        "model": call.model,
        "input": [item for message in chat.messages for item in _items(message)],
        "max_output_tokens": call.max_tokens,
        "stream": True,
        "store": False,
    }
    if chat.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.schema,
                "strict": False,
            }
            for tool in chat.tools
        ]
        if chat.calls:
            body["tool_choice"] = "required"
    if given := {name: value for name, value in reasoning.items() if value is not None}:
        body["reasoning"] = given
    if tuning.verbosity is not None:
        body["text"] = {"verbosity": tuning.verbosity}
    if sampling and call.temperature is not None:
        body["temperature"] = call.temperature
    if sampling and tuning.top_p is not None:
        body["top_p"] = tuning.top_p
    return Encoded("/responses", _encoder.encode(body), ResponsesDecoder())


class ResponsesDecoder:
    """One streamed response. Implements `Decoder`. Reasoning and its summary stay unread."""

    def __init__(self) -> None:
        self.ended = False
        self.usage: Usage | None = None
        self._tools = 0
        self._refused = False

    def feed(self, event: WireEvent) -> Iterator[Delta]:
        """Deltas of one event. Raises UpstreamFailed on an error event or one it cannot read."""
        try:
            told = _event.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise unreadable() from error
        match told.type:
            case "response.output_text.delta" | "response.refusal.delta":
                self._refused = self._refused or told.type == "response.refusal.delta"
                if isinstance(told.delta, str) and told.delta:
                    yield Delta(text=told.delta)
            case "response.output_item.done" if told.item is not None:
                yield from self._item(told.item)
            case "response.completed" | "response.incomplete" if told.response is not None:
                yield self._end(told.response)
            case "response.failed":
                failed = None
                if told.response is not None:
                    failed, self.usage = told.response.error, usage_of(told.response.usage)
                raise broken(failed or "", event.data)
            case "error":
                # Its fields stand at the top, beside a `type` that says nothing more.
                raise broken(told.error or Error(None, told.code, told.message), event.data)
            case _:
                pass  # What is under way, what was asked, and event types of later versions.

    def _item(self, item: _Item) -> Iterator[Delta]:
        if item.type != "function_call":
            return
        self._tools += 1
        if self._tools > TOOLS_LIMIT:
            raise UpstreamFailed("The model asked for too many tools at once.")
        call_id = item.call_id or f"call_{self._tools}"
        yield Delta(tool_use=ToolUse(call_id, item.name or "", item.arguments or "{}"))

    def _end(self, response: _Response) -> Delta:
        self.ended = True
        finish: Finish = "tool_use" if self._tools else "refused" if self._refused else "stop"
        if response.incomplete_details is not None:
            filtered = response.incomplete_details.reason == "content_filter"
            finish = "refused" if filtered else "length"
        self.usage = usage_of(response.usage)
        return Delta(finish=finish, usage=self.usage, message_id=response.id)


def _items(message: Message) -> Iterator[dict[str, object]]:
    """One message of ours as one or more items, in the order of its parts."""
    for part in message.parts:
        match part:
            case Text(text):
                if text:
                    yield {"role": message.role, "content": text}
            case ToolUse(id=use_id, name=name, arguments=arguments):
                yield {
                    "type": "function_call",
                    "call_id": use_id,
                    "name": name,
                    "arguments": arguments,
                }
            case ToolResult(tool_use_id=use_id, text=text):
                yield {"type": "function_call_output", "call_id": use_id, "output": text}

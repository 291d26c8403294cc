"""What vendors' wires look like: the conversation that a request tells, and an answer's events."""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

Json: TypeAlias = dict[str, Any]
_SERIAL = itertools.count(1)


@dataclass(frozen=True)
class Call:
    """A tool that the model calls."""

    tool: str
    arguments: Mapping[str, Any]

    @property
    def text(self) -> str:
        return json.dumps(self.arguments)


@dataclass(frozen=True)
class Told:
    """One thing of the conversation so far; `role` is user, tool, or else what the wire says."""

    role: str
    text: str


@dataclass(frozen=True)
class Wire:
    """One API: reads a request, and writes an answer that says something and calls tools."""

    told: Callable[[Mapping[str, Any]], list[Told]]
    events: Callable[[Mapping[str, Any], str, Sequence[Call]], Iterator[str]]
    whole: Callable[[Mapping[str, Any], str, Sequence[Call]], Json]


def _pieces(text: str) -> list[str]:
    """Its words, each with the space before it."""
    return re.findall(r"\s*\S+", text)


def _event(data: Json) -> str:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n"


def _text_of(content: object) -> str:
    """The text of a string, or of a list of blocks."""
    if isinstance(content, str):
        return content
    return "\n".join(str(block["text"]) for block in _blocks(content) if "text" in block)


def _blocks(content: object) -> list[Json]:
    return cast("list[Json]", content) if isinstance(content, list) else []


# --- Anthropic's messages -------------------------------------------------------------------------


def _anthropic_told(body: Mapping[str, Any]) -> list[Told]:
    found: list[Told] = []
    for message in body["messages"]:
        content: object = message["content"]
        for block in _blocks(content):
            if block["type"] == "tool_result":
                found.append(Told("tool", _text_of(block.get("content"))))
        if text := _text_of(content):
            found.append(Told(message["role"], text))
    return found


def _anthropic_usage(said: str) -> Json:
    return {"input_tokens": 11, "output_tokens": len(said.split())}


def _anthropic_whole(body: Mapping[str, Any], said: str, calls: Sequence[Call]) -> Json:
    serial = next(_SERIAL)
    used = [
        {
            "type": "tool_use",
            "id": f"toolu_{serial}_{place}",
            "name": call.tool,
            "input": call.arguments,
        }
        for place, call in enumerate(calls)
    ]
    return {
        "id": f"msg_{serial}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": said}, *used],
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": _anthropic_usage(said),
    }


def _anthropic_events(body: Mapping[str, Any], said: str, calls: Sequence[Call]) -> Iterator[str]:
    whole = _anthropic_whole(body, said, calls)
    started: Json = whole | {"content": [], "stop_reason": None}
    yield _event({"type": "message_start", "message": started})
    for index, block in enumerate(cast("list[Json]", whole["content"])):
        if block["type"] == "text":
            empty: Json = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(said)]
        else:
            empty = block | {"input": {}}
            given = json.dumps(block["input"])
            halves = (given[:7], given[7:])
            deltas = [{"type": "input_json_delta", "partial_json": half} for half in halves]
        yield _event({"type": "content_block_start", "index": index, "content_block": empty})
        for delta in deltas:
            yield _event({"type": "content_block_delta", "index": index, "delta": delta})
        yield _event({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    usage = {"output_tokens": whole["usage"]["output_tokens"]}
    yield _event({"type": "message_delta", "delta": ended, "usage": usage})
    yield _event({"type": "message_stop"})


# --- OpenAI's chat completions --------------------------------------------------------------------


def _chat_told(body: Mapping[str, Any]) -> list[Told]:
    return [Told(message["role"], _text_of(message.get("content"))) for message in body["messages"]]


def _chat_calls(serial: int, calls: Sequence[Call]) -> list[Json]:
    return [
        {
            "index": place,
            "id": f"call_{serial}_{place}",
            "type": "function",
            "function": {"name": call.tool, "arguments": call.text},
        }
        for place, call in enumerate(calls)
    ]


def _chat_usage(said: str) -> Json:
    spent = len(said.split())
    return {"prompt_tokens": 11, "completion_tokens": spent, "total_tokens": 11 + spent}


def _chat_whole(body: Mapping[str, Any], said: str, calls: Sequence[Call]) -> Json:
    serial = next(_SERIAL)
    message: Json = {"role": "assistant", "content": said}
    if calls:
        message["tool_calls"] = _chat_calls(serial, calls)
    finish = "tool_calls" if calls else "stop"
    return {
        "id": f"chatcmpl-{serial}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": _chat_usage(said),
    }


def _chat_events(body: Mapping[str, Any], said: str, calls: Sequence[Call]) -> Iterator[str]:
    whole = _chat_whole(body, said, calls)
    head = whole | {"object": "chat.completion.chunk", "usage": None}
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in _pieces(said)]
    for call in _chat_calls(next(_SERIAL), calls):
        named = call | {"function": call["function"] | {"arguments": ""}}
        deltas.append({"tool_calls": [named]})
        given = {"index": call["index"], "function": {"arguments": call["function"]["arguments"]}}
        deltas.append({"tool_calls": [given]})
    finish = whole["choices"][0]["finish_reason"]
    for delta, reason in [*((delta, None) for delta in deltas), ({}, finish)]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        yield f"data: {json.dumps(head | {'choices': [choice]})}\n\n"
    if (body.get("stream_options") or {}).get("include_usage"):
        yield f"data: {json.dumps(head | {'choices': [], 'usage': whole['usage']})}\n\n"
    yield "data: [DONE]\n\n"


# --- OpenAI's responses ---------------------------------------------------------------------------


def _responses_told(body: Mapping[str, Any]) -> list[Told]:
    given = body["input"]
    if isinstance(given, str):
        return [Told("user", given)]
    found: list[Told] = []
    for item in cast("list[Json]", given):
        if item.get("type") == "function_call_output":
            found.append(Told("tool", _text_of(item["output"])))
        elif "role" in item:
            found.append(Told(item["role"], _text_of(item["content"])))
    return found


def _responses_output(serial: int, said: str, calls: Sequence[Call]) -> list[Json]:
    part: Json = {"type": "output_text", "text": said, "annotations": []}
    message: Json = {
        "id": f"msg_{serial}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }
    used = [
        {
            "id": f"fc_{serial}_{place}",
            "type": "function_call",
            "status": "completed",
            "call_id": f"call_{serial}_{place}",
            "name": call.tool,
            "arguments": call.text,
        }
        for place, call in enumerate(calls)
    ]
    return [message, *used]


def _responses_whole(body: Mapping[str, Any], said: str, calls: Sequence[Call]) -> Json:
    serial, spent = next(_SERIAL), len(said.split())
    return {
        "id": f"resp_{serial}",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "model": body["model"],
        "output": _responses_output(serial, said, calls),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 11,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": spent,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 11 + spent,
        },
    }


def _responses_events(body: Mapping[str, Any], said: str, calls: Sequence[Call]) -> Iterator[str]:
    whole = _responses_whole(body, said, calls)
    begun: Json = whole | {"status": "in_progress", "output": [], "usage": None}
    bodies: list[Json] = [{"type": "response.created", "response": begun}]
    for index, item in enumerate(cast("list[Json]", whole["output"])):
        bodies += _responses_item(index, item)
    bodies.append({"type": "response.completed", "response": whole})
    for number, event in enumerate(bodies):
        yield _event(event | {"sequence_number": number})


def _responses_item(index: int, item: Json) -> list[Json]:
    at: Json = {"output_index": index, "item_id": item["id"]}
    opened = {"type": "response.output_item.added", "output_index": index}
    closed = {"type": "response.output_item.done", "output_index": index, "item": item}
    if item["type"] == "function_call":
        given = item["arguments"]
        bare = item | {"status": "in_progress", "arguments": ""}
        name = "response.function_call_arguments"
        return [
            opened | {"item": bare},
            at | {"type": f"{name}.delta", "delta": given},
            at | {"type": f"{name}.done", "arguments": given, "name": item["name"]},
            closed,
        ]
    part = item["content"][0]
    at |= {"content_index": 0}
    return [
        opened | {"item": item | {"status": "in_progress", "content": []}},
        at | {"type": "response.content_part.added", "part": part | {"text": ""}},
        *(
            at | {"type": "response.output_text.delta", "delta": piece, "logprobs": []}
            for piece in _pieces(part["text"])
        ),
        at | {"type": "response.output_text.done", "text": part["text"], "logprobs": []},
        at | {"type": "response.content_part.done", "part": part},
        closed,
    ]


WIRES: Mapping[str, Wire] = {
    "/v1/messages": Wire(_anthropic_told, _anthropic_events, _anthropic_whole),
    "/v1/chat/completions": Wire(_chat_told, _chat_events, _chat_whole),
    "/v1/responses": Wire(_responses_told, _responses_events, _responses_whole),
}
"""The APIs by path."""

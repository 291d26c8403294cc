"""The shortest streamed answer of an OpenAI-compatible server, for chats and for completions."""

import json


def _event(finish: str | None, text: str) -> bytes:
    delta = {"content": text} if text else {}
    choice = {"index": 0, "delta": delta, "text": text, "finish_reason": finish}
    return b"data: %b\n\n" % json.dumps({"id": "c", "choices": [choice]}).encode()


STREAM = _event(None, "Yes") + _event("length", "") + b"data: [DONE]\n\n"

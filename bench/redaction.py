"""What redaction costs: `python -m bench.redaction`. In CPU time: a busy machine tells it too.

Prompts and answers are clean code and prose of this repository. The first byte's delay is that of a
guarded call: its prompt is searched, its body as well, and its first delta passes the window.
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from isthmus.core.events import Fact
from isthmus.core.messages import Chat, Delta, Destination, Message, Text
from isthmus.core.policies import Guarded, RelayedFilter
from isthmus.redaction.guard import SecretGuard, open_guard
from isthmus.redaction.rules import redact
from isthmus.settings_redaction import RedactionSettings

ROOT = Path(__file__).resolve().parents[1]
PLACE = Destination("duo_chat", "anthropic", "anthropic")
CALLS = 2_000
KIB = 1_024
_Sized = TypeVar("_Sized", str, bytes)


class Nowhere:
    """Telemetry that nobody reads."""

    def emit(self, fact: Fact) -> None:
        """Forget it."""


def main() -> None:
    """Print every figure."""
    guard = _guard()
    texts = [file.read_text(encoding="utf-8") for file in sorted(ROOT.glob("src/**/*.py"))]
    texts += [file.read_text(encoding="utf-8") for file in sorted(ROOT.glob("docs/**/*.md"))]
    texts = [redact(text) for text in texts if len(text) >= 4 * KIB]
    print(f"{len(texts)} files, {sum(map(len, texts)) // KIB} KiB, searched once before")
    _rate("clean prompt", texts, lambda text: guard.call(_chat(text), PLACE))
    bodies = [_body(text) for text in texts]
    _rate("clean forwarded body", bodies, lambda body: guard.body(body, PLACE))
    tokens = {text: re.findall(r"\s?\w+|\W", text) for text in texts}
    _rate("clean answer, by token", texts, lambda text: _answer(guard, tokens[text]))
    pieces = {text: [text[at : at + 64] for at in range(0, len(text), 64)] for text in texts}
    _rate("clean answer, by 64 letters", texts, lambda text: _answer(guard, pieces[text]))
    events = {text: _events(pieces[text]) for text in texts}
    _rate("forwarded events, by 64 letters", texts, lambda text: _relayed(guard, events[text]))
    count = sum(map(len, tokens.values()))
    took = _took_s(lambda: [_answer(guard, tokens[text]) for text in texts])
    print(f"a delta: {took / count * 1e6:.2f} us")
    for size in (1, 4, 32, 256):
        _first_byte(guard, "".join(texts)[: size * KIB], size)


def _guard() -> SecretGuard:
    settings = RedactionSettings(prompt="redact", tool_result="redact", answer="redact")
    return cast("SecretGuard", open_guard(settings, Nowhere()))


def _first_byte(guard: SecretGuard, text: str, size: int) -> None:
    """What a guard adds before the first delta of an answer goes on, and before a body does."""
    prompt, body = _chat(text), _body(text)

    def asked() -> None:
        cast("Guarded", guard.call(prompt, PLACE)).feed(Delta("The "))

    for name, call in (("chat", asked), ("forwarded", lambda: guard.body(body, PLACE))):
        delays = sorted(_took_s(call) * 1e3 for _ in range(CALLS if size < 32 else CALLS // 10))
        p50, p99 = delays[len(delays) // 2], delays[len(delays) * 99 // 100]
        print(f"first byte, {name} of {size:>3} KiB: p50 {p50:.3f} ms, p99 {p99:.3f} ms")


def _rate(name: str, items: Sequence[_Sized], call: Callable[[_Sized], object]) -> None:
    size = sum(len(item) for item in items) / KIB
    best = min(_took_s(lambda: [call(item) for item in items]) for _ in range(3))
    print(f"{name}: {best / size * 1e6:.2f} us a KiB")


def _took_s(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _chat(text: str) -> Chat:
    return Chat((Message("system", (Text("Be kind."),)), Message("user", (Text(text),))))


def _body(text: str) -> bytes:
    return json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": text}]}, ensure_ascii=False
    ).encode()


def _answer(guard: SecretGuard, pieces: Sequence[str]) -> None:
    guarded = cast("Guarded", guard.call(Chat(()), PLACE))
    for piece in pieces:
        guarded.feed(Delta(piece))
    guarded.feed(Delta(finish="stop"))


def _events(pieces: Sequence[str]) -> list[bytes]:
    head = {"type": "content_block_delta", "index": 0}
    said = [head | {"delta": {"type": "text_delta", "text": piece}} for piece in pieces]
    return [f"event: content_block_delta\ndata: {json.dumps(one)}\n\n".encode() for one in said]


def _relayed(guard: SecretGuard, events: Sequence[bytes]) -> None:
    through = cast("RelayedFilter", guard.relayed("text/event-stream", PLACE))
    for event in events:
        through.feed(event)
    through.finish()


if __name__ == "__main__":
    main()

"""Says what may leave to a model and what may come back: the Guard of `core/policies.py`. Pure."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TypeAlias, TypeVar

from msgspec import Struct, structs

from isthmus.core import messages as m
from isthmus.core.errors import Withheld
from isthmus.core.events import SecretFound
from isthmus.core.policies import Guarded, Marks, RelayedFilter
from isthmus.core.ports import Telemetry
from isthmus.redaction.body import strings_redacted
from isthmus.redaction.policy import KEPT, Policy, rules_of
from isthmus.redaction.relayed import EventFilter
from isthmus.redaction.rules import MARK, Found, Rules, decoded, encoded, replaced
from isthmus.redaction.stream import Window
from isthmus.settings_redaction import Mode, RedactionSettings

_SAID: Mapping[str, str] = {
    "prompt": "The prompt holds what looks like a secret ({rule}), and was not sent.",
    "tool_result": "A tool's result holds what looks like a secret ({rule}), and was not sent.",
    "answer": "The model's answer holds what looks like a secret ({rule}), and was cut off.",
}
_T = TypeVar("_T")


class Sight(Struct, frozen=True):
    """Looks at one way of one call, in one mode, and tells what it finds."""

    rules: Rules
    telemetry: Telemetry
    destination: m.Destination
    way: str
    mode: Mode
    marks: Marks | None = None

    def text(self, text: str) -> str:
        """The text that may go on: the same object when nothing is changed. Raises Withheld."""
        if self.mode == "off":
            return text
        data = encoded(text)
        found = self.rules.found(data)
        return decoded(replaced(data, found, self.mark)) if found else text

    def json(self, text: bytes) -> bytes:
        """The same for the strings of a JSON text."""
        return text if self.mode == "off" else strings_redacted(self.rules, text, self.mark)

    def mark(self, one: Found, secret: bytes) -> bytes:
        """Tell of a secret; what goes in its place: itself in mode shadow. Raises Withheld."""
        rule, to = one.shape.name, self.destination
        self.telemetry.emit(
            SecretFound(rule, self.way, self.mode, to.feature, to.provider, count=1)
        )
        if self.mode == "block":
            raise Withheld(_SAID[self.way].format(rule=rule), rule)
        if self.mode == "shadow":
            return secret
        return (self.marks.mark(rule, decoded(secret)) if self.marks else MARK).encode()


Sights: TypeAlias = tuple[Sight, Sight, Sight]


class GuardedCall:
    """One call to a model under a policy."""

    def __init__(self, prompt: m.Chat | m.Infill, answers: Sight, window_bytes: int) -> None:
        self.prompt = prompt
        self._sight = answers
        self._window_bytes = window_bytes
        self._looks = answers.mode != "off"

    @cached_property
    def _window(self) -> Window:
        """Of answers that come in pieces."""
        return Window(self._sight.rules, self._window_bytes, self._sight.mark)

    def feed(self, delta: m.Delta) -> Sequence[m.Delta]:
        """What of an answer may go on now. Raises Withheld."""
        if not self._looks:
            return (delta,)
        text, use = delta.text, delta.tool_use
        if text:
            data = encoded(text)
            passed = self._window.feed(data)
            if passed is not data:
                text = decoded(passed)
        if delta.finish is not None and self._window.waiting:
            text += decoded(self._window.finish())
        if use is not None:
            use = _use(use, self._sight)
        if text == delta.text and use is delta.tool_use:
            return (delta,)
        if not text and delta == m.Delta(delta.text):
            return ()
        return (structs.replace(delta, text=text, tool_use=use),)

    def finish(self) -> Sequence[m.Delta]:
        """What was held back, at the end of an answer without a `finish`. Raises Withheld."""
        rest = decoded(self._window.finish())
        return (m.Delta(text=rest),) if rest else ()

    def answer(self, answer: m.Answer) -> m.Answer:
        """A whole answer that may go on. Raises Withheld."""
        text, uses = self._sight.text(answer.text), answer.tool_uses
        if uses:
            uses = _each(uses, [_use(use, self._sight) for use in uses])
        if text is answer.text and uses is answer.tool_uses:
            return answer
        return structs.replace(answer, text=text, tool_uses=uses)


class SecretGuard:
    """The guard of a server. A text of 1 KiB costs some 2 us: large ones belong on a thread."""

    def __init__(
        self, rules: Rules, policy: Policy, window_bytes: int, telemetry: Telemetry
    ) -> None:
        self._rules = rules
        self._policy = policy
        self._window_bytes = window_bytes
        self._telemetry = telemetry
        self._known: dict[m.Destination, Sights] = {}

    def call(
        self, prompt: m.Chat | m.Infill, destination: m.Destination, marks: Marks | None = None
    ) -> Guarded | None:
        """What may leave; None when no policy looks at this destination. Raises Withheld."""
        sights = self._sights(destination, marks)
        if sights is None:
            return None
        asked, results, answers = sights
        if isinstance(prompt, m.Infill):
            clean: m.Chat | m.Infill = _infill(prompt, asked)
        else:
            clean = _chat(prompt, asked, results)
        return GuardedCall(clean, answers, self._window_bytes)

    def texts(self, texts: tuple[str, ...], destination: m.Destination) -> tuple[str, ...]:
        """Texts that may leave for embeddings. Raises Withheld."""
        sights = self._sights(destination)
        if sights is None:
            return texts
        return _each(texts, [sights[0].text(text) for text in texts])

    def body(self, body: bytes, destination: m.Destination) -> bytes:
        """A forwarded body that may leave; all of it is a prompt. Raises Withheld."""
        sights = self._sights(destination)
        return body if sights is None else sights[0].json(body)

    def relayed(self, content_type: str, destination: m.Destination) -> RelayedFilter | None:
        """What a forwarded answer passes through; None when no policy looks at it."""
        sights = self._sights(destination)
        if sights is None or sights[2].mode == "off":
            return None
        sight = sights[2]
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            return EventFilter(self._rules, self._window_bytes, sight.mark)
        if kind.startswith("text/") or kind.endswith("json"):
            # What goes holds no quote and cuts no escape: JSON stays JSON.
            return Window(self._rules, self._window_bytes, sight.mark)
        return None

    def _sights(self, destination: m.Destination, marks: Marks | None = None) -> "Sights | None":
        """Of prompt, tool results and answer; those of calls without marks are made once."""
        if marks is None:
            known = self._known.get(destination)
            if known is not None:
                return known
        modes = self._policy.modes(destination)
        if modes is None:
            return None
        of = (self._rules, self._telemetry, destination)
        made = (
            Sight(*of, "prompt", modes.prompt, marks),
            Sight(*of, "tool_result", modes.tool_result, marks),
            Sight(*of, "answer", modes.answer, marks),
        )
        if marks is None and len(self._known) < KEPT:
            self._known[destination] = made
        return made


def open_guard(settings: RedactionSettings, telemetry: Telemetry) -> SecretGuard | None:
    """The guard that settings ask for; None when they look at nothing. Raises SettingsError."""
    policy, rules = Policy(settings), rules_of(settings)
    if not policy.looks:
        return None
    # Compiled now, not under the first request.
    _ = rules.watch(b"", 0), rules.found(b""), rules.maybe_quoted(b"")
    return SecretGuard(rules, policy, settings.window_bytes, telemetry)


def _each(old: tuple[_T, ...], new: Sequence[_T]) -> tuple[_T, ...]:
    """The new ones; the old tuple when they are the same objects."""
    same = all(one is other for one, other in zip(old, new, strict=True))
    return old if same else tuple(new)


def _chat(chat: m.Chat, asked: Sight, results: Sight) -> m.Chat:
    if asked.mode == results.mode == "off":
        return chat
    messages = _each(chat.messages, [_message(one, asked, results) for one in chat.messages])
    return chat if messages is chat.messages else structs.replace(chat, messages=messages)


def _message(message: m.Message, asked: Sight, results: Sight) -> m.Message:
    parts = _each(message.parts, [_part(one, asked, results) for one in message.parts])
    return message if parts is message.parts else m.Message(message.role, parts)


def _part(part: m.Part, asked: Sight, results: Sight) -> m.Part:
    if isinstance(part, m.ToolUse):
        return _use(part, asked)
    text = (asked if isinstance(part, m.Text) else results).text(part.text)
    return part if text is part.text else structs.replace(part, text=text)


def _use(use: m.ToolUse, sight: Sight) -> m.ToolUse:
    data = encoded(use.arguments)
    new = sight.json(data)
    return use if new is data else structs.replace(use, arguments=decoded(new))


def _infill(infill: m.Infill, sight: Sight) -> m.Infill:
    prefix, suffix = sight.text(infill.prefix), sight.text(infill.suffix)
    items = infill.context
    if items:
        items = _each(items, [_item(item, sight) for item in items])
    if prefix is infill.prefix and suffix is infill.suffix and items is infill.context:
        return infill
    return structs.replace(infill, prefix=prefix, suffix=suffix, context=items)


def _item(item: m.ContextItem, sight: Sight) -> m.ContextItem:
    text = sight.text(item.content)
    return item if text is item.content else structs.replace(item, content=text)

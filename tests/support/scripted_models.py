"""A stand-in for every model: says what it was told to, and keeps what it was asked."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

from isthmus.core.errors import NotFound
from isthmus.core.identity import Caller
from isthmus.core.messages import Chat, Delta, ModelChoice, ModelMetadata, ToolUse, Usage
from isthmus.routing.ask import Ask
from isthmus.routing.catalogue import Catalogue
from isthmus.routing.models import Models
from isthmus.routing.resolve import AMAZON_Q
from isthmus.settings import OutboundSettings
from tests.support.clock import HandClock
from tests.support.sink import MemorySink

Line = Sequence[Delta | Exception]


def say(*texts: str, usage: Usage | None = None) -> Line:
    """An answer in pieces."""
    return [*(Delta(text=text) for text in texts), Delta(finish="stop", usage=usage)]


def use(*calls: tuple[str, str, str], text: str = "") -> Line:
    """An answer that calls tools: (id, name, JSON arguments) each."""
    spoken = [Delta(text=text)] if text else []
    uses = [Delta(tool_use=ToolUse(*call)) for call in calls]
    return [*spoken, *uses, Delta(finish="tool_use")]


class ScriptedModels(Models):
    """Plays its lines in order; the last one again when they run out."""

    def __init__(self, *lines: Line, known: Mapping[str, ModelChoice] | None = None) -> None:
        clock = HandClock()
        super().__init__({}, _NO_CATALOGUE, OutboundSettings(), MemorySink(), clock)
        self._lines = list(lines)
        self._known = dict(known or {})
        self.calls: list[tuple[Ask, ModelChoice, Caller]] = []
        self.chosen: list[str | None] = []
        self.served_at = "east"
        self.cost: int | None = None
        self.wanted: list[tuple[ModelMetadata | None, frozenset[str]]] = []

    def choose(self, feature: str, model_id: str | None = None) -> ModelChoice:
        self.chosen.append(model_id)
        if model_id in (None, "scripted-1"):
            return ModelChoice("scripted-1", "scripted", feature, "up-1")
        if model_id in self._known:
            return self._known[str(model_id)]
        raise NotFound("no such model")

    def tagged(self, feature: str, tags: Sequence[str], default: ModelChoice) -> ModelChoice:
        del feature
        found = [self._known[tag] for tag in tags if tag in self._known]
        return found[0] if found else default

    def resolve(
        self, wanted: ModelMetadata | None, feature: str, flags: Collection[str] = ()
    ) -> ModelChoice:
        self.wanted.append((wanted, frozenset(flags)))
        if wanted is not None and wanted.provider == AMAZON_Q:
            return super().resolve(wanted, feature, flags)
        named = "" if wanted is None else wanted.name or wanted.identifier
        return self.choose(feature, named or None)

    async def stream(
        self, ask: Ask, choice: ModelChoice, caller: Caller
    ) -> AsyncGenerator[Delta, None]:
        self.calls.append((ask, choice, caller))
        if ask.session is not None and self.served_at != ask.session.deployment:
            ask.session.moved(self.served_at)
        line = self._lines.pop(0) if len(self._lines) > 1 else self._lines[0]
        usage: Usage | None = None
        try:
            for item in line:
                if isinstance(item, Exception):
                    raise item
                usage = item.usage or usage
                yield item
        finally:
            if usage is not None and ask.session is not None and ask.session.spent is not None:
                ask.session.spent(usage, self.cost)

    @property
    def asks(self) -> list[Ask]:
        """What was asked, in order."""
        return [ask for ask, _, _ in self.calls]

    def prompt(self, number: int = -1) -> Chat:
        """What the model was sent in one of its calls."""
        prompt = self.asks[number].prompt
        assert isinstance(prompt, Chat)
        return prompt


_NO_CATALOGUE = Catalogue({}, {})

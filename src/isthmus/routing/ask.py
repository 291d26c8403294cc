"""What use cases want of models."""

from collections.abc import Callable
from zlib import crc32

from msgspec import Struct

from isthmus.core.messages import PLAIN, Chat, Infill, ModelChoice, RawCall, ToolUse, Tuning, Usage
from isthmus.core.policies import Marks
from isthmus.routing.affinity import prompt_key, session_key
from isthmus.routing.lanes import Lane

CACHED_CHARS = 4096
"""Some 1,024 tokens: no vendor caches a prompt that is shorter."""


class Ask(Struct, frozen=True, gc=False):
    """What a use case wants of a model.

    `feature` is the feature setting that pays for it, `unit_primitive` the scope it was allowed by;
    both are labels here. `streaming` tells metrics how the caller reads; the call always streams.
    """

    feature: str
    unit_primitive: str
    prompt: Chat | Infill
    max_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    streaming: bool = False
    tuning: Tuning = PLAIN
    """Laid over what the catalogue says for the model, field by field."""
    timeout_s: float | None = None
    """Limit to the first byte, where it is shorter than the settings'."""
    again: "Callable[[ModelChoice], Ask | None] | None" = None
    """The same in words for another model; None for one that cannot do it. None: only this one."""
    floor_only: bool = False
    """Whether only the local completer may stand in, because the model was asked for by name."""
    session: "Session | None" = None
    marks: Marks | None = None
    """What stands in the place of secrets, where the call is a session's."""

    def key(self, tenant: str) -> int | None:
        """What calls have in common whose prompts begin alike; None where no cache keeps them."""
        if self.session is not None:
            return session_key(tenant, self.session.id)
        return prompt_key(tenant, self.prompt) if self.size() >= CACHED_CHARS else None

    def size(self) -> int:
        """Characters of the prompt."""
        prompt = self.prompt
        if isinstance(prompt, Infill):
            return len(prompt.prefix) + len(prompt.suffix)
        return sum(
            len(part.arguments) if isinstance(part, ToolUse) else len(part.text)
            for message in prompt.messages
            for part in message.parts
        )

    @property
    def lane(self) -> Lane:
        """Its place in a queue."""
        if self.session is not None:
            return "background"
        return "interactive" if type(self.prompt) is Infill else "chat"


class Session(Struct, frozen=True, gc=False):
    """The session that a call belongs to: it keeps its deployment.

    `deployment` is the one that it has, "" when it has none yet; `moved` is told of another one.
    `spent` is told what each try used, the ones that failed too, and what that cost, in millionths
    of a US dollar; None for a model without a price.
    """

    id: str
    deployment: str
    moved: Callable[[str], None]
    spent: Callable[[Usage, int | None], None] | None = None


class EmbedAsk(Struct, frozen=True, gc=False):
    """What a use case wants of a model that makes embeddings; labels as in `Ask`."""

    feature: str
    unit_primitive: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    drop_unsupported: bool = False
    again: None = None
    session: None = None

    def key(self, _: str) -> int | None:
        """None: vectors have no beginnings."""
        return None

    def size(self) -> int:
        """Characters of the texts."""
        return sum(map(len, self.texts))

    @property
    def lane(self) -> Lane:
        """Its place in a queue."""
        return "background"


class RawAsk(Struct, frozen=True, gc=False):
    """A call in a provider's own wire."""

    raw: RawCall
    unit_primitive: str
    again: None = None
    session: None = None

    def key(self, tenant: str) -> int | None:
        """What calls have in common whose bodies begin alike; None where no cache keeps them."""
        body = self.raw.body
        if len(body) < CACHED_CHARS:
            return None
        return session_key(tenant, f"{crc32(body[:CACHED_CHARS]):x}")

    def size(self) -> int:
        """Bytes of the body."""
        return len(self.raw.body)

    @property
    def lane(self) -> Lane:
        """Its place in a queue."""
        return "chat"

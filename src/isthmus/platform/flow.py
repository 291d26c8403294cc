"""A flow: agents, questions to the user and fixed steps, and the ways between them. Values only.

Source: agent-platform contract, section 7.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal, TypeAlias

from isthmus.platform.address import Input
from isthmus.platform.inputs import Declared
from isthmus.prompts.render import Script

Environment: TypeAlias = Literal["chat", "ambient", "chat-partial"]
END: Final = "end"
ABORT: Final = "abort"
DEFAULT_ROUTE: Final = "default_route"


@dataclass(frozen=True, slots=True)
class Prompt:
    """The messages that stand before an agent's history, and how its model is asked."""

    script: Script
    unit_primitive: str = "duo_agent_platform"
    max_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cycles:
    """Turns of a model: from `warn_at` on it is warned, from `most` on told to end.

    After `retries` more turns that call tools all the same, the flow fails.
    """

    most: int = 280
    warn_at: int = 270
    retries: int = 3


@dataclass(frozen=True, slots=True)
class Agent:
    """A model with tools, in a loop until it answers without calling one.

    `fixed` are arguments that override the model's, by tool. `events` names what the log shows;
    None: everything.
    """

    name: str
    prompt: Prompt
    toolset: tuple[str, ...]
    inputs: tuple[Input, ...] = ()
    fixed: Mapping[str, Mapping[str, object]] = field(
        default_factory=dict[str, Mapping[str, object]]
    )
    asks: bool = False
    preapproved: tuple[str, ...] = ()
    events: frozenset[str] | None = None
    shown_as: Literal["agent", "tool"] = "agent"
    cycles: Cycles = Cycles()
    tags: tuple[str, ...] = ()

    def shows(self, event: str) -> bool:
        """Whether the log has an entry for this event."""
        return self.events is None or event in self.events

    @property
    def streams(self) -> bool:
        """Whether its text may be shown while it is written: both kinds of it go to the log."""
        return self.shows("on_agent_final_answer") and self.shows("on_agent_reasoning")


@dataclass(frozen=True, slots=True)
class Question:
    """A pause for the user; the answer goes to the conversation of `answers_to`."""

    name: str
    answers_to: str
    approval: bool
    template: Script | None
    inputs: tuple[Input, ...] = ()
    events: frozenset[str] | None = None

    def shows(self, event: str) -> bool:
        """Whether the log has an entry for this event."""
        return self.events is None or event in self.events


@dataclass(frozen=True, slots=True)
class FixedStep:
    """One call of one tool, without a model."""

    name: str
    tool: str
    inputs: tuple[Input, ...]
    fixed: Mapping[str, object]
    events: frozenset[str] | None = None

    def shows(self, event: str) -> bool:
        """Whether the log has an entry for this event."""
        return self.events is None or event in self.events


Component: TypeAlias = Agent | Question | FixedStep


@dataclass(frozen=True, slots=True)
class Route:
    """Where to go behind a component: by the text of a value, or always the same way."""

    to: Mapping[str, str]
    by: Input | None = None

    def next(self, state: Mapping[str, object]) -> str | None:
        """The next component, `end` or `abort`; None when no way fits. Raises Invalid."""
        text = "" if self.by is None else str(self.by.read(state))
        return self.to.get(text) or self.to.get(DEFAULT_ROUTE)


@dataclass(frozen=True)
class Flow:
    """A checked flow. `key` stands for its content.

    In `chat-partial` the one agent talks with the user in a loop, and there are no routes.
    """

    key: str
    environment: Environment
    components: tuple[Component, ...]
    entry: str
    routes: Mapping[str, Route] = field(default_factory=dict[str, Route])
    wanted: tuple[Declared, ...] = ()

    @property
    def talks(self) -> bool:
        """Whether it is a conversation without routes."""
        return self.environment == "chat-partial"

    @cached_property
    def agents(self) -> Mapping[str, Agent]:
        """The agents by name."""
        return {part.name: part for part in self.components if isinstance(part, Agent)}

    @property
    def agent(self) -> Agent:
        """The one agent of a conversation."""
        return next(iter(self.agents.values()))

    @property
    def feature(self) -> str:
        """The feature setting that its models are chosen for."""
        return "duo_agent_platform" if self.environment == "ambient" else CHAT_FEATURE


CHAT_FEATURE: Final = "duo_agent_platform_agentic_chat"

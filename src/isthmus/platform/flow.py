"""A flow: agents, questions to the user and fixed steps, and the ways between them. Values only.

Source: agent-platform contract, section 7.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal, TypeAlias

from isthmus.core.messages import Tuning
from isthmus.platform.address import Input
from isthmus.platform.inputs import Declared
from isthmus.prompts.registry import tuned
from isthmus.prompts.render import Script
from isthmus.prompts.schema import ModelParams, OpenAIParams

Environment: TypeAlias = Literal["chat", "ambient", "chat-partial"]
END: Final = "end"
ABORT: Final = "abort"
DELEGATE: Final = "delegate_task"
"""The tool by which a supervisor hands work to another agent."""
DEFAULT_ROUTE: Final = "default_route"
_NO_NAME = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class Prompt:
    """The messages before an agent's history, and behind it, and how its model is asked."""

    script: Script
    unit_primitive: str = "duo_agent_platform"
    params: ModelParams = field(default_factory=ModelParams)
    stop: tuple[str, ...] = ()
    tail: Script | None = None
    timeout_s: float | None = None
    openai: OpenAIParams | None = None

    @property
    def max_tokens(self) -> int | None:
        """The cap on output tokens."""
        return self.params.max_tokens

    @property
    def temperature(self) -> float | None:
        """None leaves it to the model's own."""
        return self.params.temperature

    def tuning(self, provider: str) -> Tuning:
        """What else a model of this provider is told."""
        return tuned(self.params, self.openai, provider)


@dataclass(frozen=True, slots=True)
class Cycles:
    """Turns of a model: from `warn_at` on it is warned, from `most` on told to end.

    After `retries` more turns that call tools all the same, the flow fails.
    """

    most: int = 280
    warn_at: int = 270
    retries: int = 3


@dataclass(frozen=True, slots=True)
class Compaction:
    """When a history is summed up: above `at` of the context; and what stays as it was."""

    recent_messages: int = 10
    recent_tokens: int = 40_000
    at: float = 0.7


@dataclass(frozen=True, slots=True)
class Shape:
    """A structured answer: the model gives it by calling a tool of the schema's name.

    `tracked` are values of the state that telemetry gets along with the answer; None: no telemetry.
    """

    id: str
    definition: Mapping[str, object]
    version: str = ""
    tracked: tuple[Input, ...] | None = None

    @property
    def tool(self) -> str:
        """The tool's name: what a model may call."""
        return _NO_NAME.sub("_", self.id)[:64]

    @property
    def description(self) -> str:
        """What the model is told of the tool."""
        said = self.definition.get("description")
        return said if isinstance(said, str) else "Give the final answer, and end the task."


@dataclass(frozen=True, slots=True)
class Delegation:
    """The agents that a supervisor hands work to, at most `most` times.

    `parallel`: several at once, where the instance has switched that on.
    """

    to: tuple[str, ...]
    most: int | None = None
    parallel: bool = False


@dataclass(frozen=True, slots=True)
class Agent:
    """A model with tools, in a loop until it answers without calling one.

    `fixed` are arguments that override the model's, by tool. `events` names what the log shows;
    None: everything. `compaction` is None for a history that is only ever trimmed. `searches`: its
    model may search the web, where provider, client and session allow it. `subsession` counts the
    conversations of an agent that work is delegated to, from 1; 0 is an agent's only one.
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
    compaction: Compaction | None = Compaction()
    shape: Shape | None = None
    delegation: Delegation | None = None
    description: str = ""
    searches: bool = False
    subsession: int = 0

    @property
    def key(self) -> str:
        """What its conversation is kept under."""
        return f"{self.name}#{self.subsession}" if self.subsession else self.name

    def shows(self, event: str) -> bool:
        """Whether the log has an entry for this event."""
        return self.events is None or event in self.events

    @property
    def streams(self) -> bool:
        """Whether its text may be shown while it is written: both kinds of it go to the log."""
        return self.shows("on_agent_final_answer") and self.shows("on_agent_reasoning")


@dataclass(frozen=True, slots=True)
class OneOff:
    """One turn of a model that has to call tools; `attempts` more when they fail."""

    agent: Agent
    attempts: int = 3

    @property
    def name(self) -> str:
        """The component's name."""
        return self.agent.name


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
    shown_as: Literal["agent", "tool"] = "tool"

    def shows(self, event: str) -> bool:
        """Whether the log has an entry for this event."""
        return self.events is None or event in self.events


Component: TypeAlias = Agent | OneOff | Question | FixedStep


@dataclass(frozen=True, slots=True)
class Route:
    """Where to go behind a component: by the text of a value, or always the same way."""

    to: Mapping[str, str]
    by: Input | None = None

    def next(self, state: Mapping[str, object]) -> tuple[str | None, str | None]:
        """The next component, `end` or `abort`; None when no way fits. Raises Invalid.

        And the text that led there; None when the route does not name it.
        """
        text = "" if self.by is None else str(self.by.read(state))
        if text in self.to:
            return self.to[text], text
        return self.to.get(DEFAULT_ROUTE), None


@dataclass(frozen=True)
class Flow:
    """A checked flow. `key` stands for its content.

    In `chat-partial` the one agent talks with the user in a loop, and there are no routes. Agents
    that work is delegated to are components as well, and no router leads to them.
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
        """The agents by name, those of one turn among them."""
        agents = (p.agent if isinstance(p, OneOff) else p for p in self.components)
        return {agent.name: agent for agent in agents if isinstance(agent, Agent)}

    @cached_property
    def supervisors(self) -> Mapping[str, str]:
        """Agents that work is delegated to -> who delegates it."""
        return {
            name: agent.name
            for agent in self.agents.values()
            if agent.delegation is not None
            for name in agent.delegation.to
        }

    @property
    def agent(self) -> Agent:
        """The one agent of a conversation."""
        return next(iter(self.agents.values()))

    @property
    def feature(self) -> str:
        """The feature setting that its models are chosen for."""
        return "duo_agent_platform" if self.environment == "ambient" else CHAT_FEATURE


CHAT_FEATURE: Final = "duo_agent_platform_agentic_chat"

"""What a flow file says. Pure: bytes in, a checked value out."""

from typing import Literal

import msgspec

from isthmus.core.errors import Invalid


class AgentComponent(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="AgentComponent", tag_field="type"
):
    """A model with tools, in a loop until it answers without calling one."""

    name: str
    prompt_id: str
    toolset: tuple[str, ...]
    require_tool_approval: bool = False
    pre_approved_tools: tuple[str, ...] = ()
    feature: str = "duo_agent_platform"
    unit_primitive: str = "duo_agent_platform"


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A system prompt."""

    prompt_id: str
    system: str


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the flow begins."""

    entry_point: str


class Flow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A flow, as its file says it."""

    version: Literal["v1"]
    environment: Literal["chat", "ambient"]
    name: str
    description: str
    components: tuple[AgentComponent, ...]
    prompts: tuple[Prompt, ...]
    flow: Entry

    @property
    def agent(self) -> AgentComponent:
        """The component at the entry point."""
        return next(part for part in self.components if part.name == self.flow.entry_point)

    @property
    def system(self) -> str:
        """The entry agent's system prompt."""
        wanted = self.agent.prompt_id
        return next(prompt.system for prompt in self.prompts if prompt.prompt_id == wanted)


def parse(text: bytes, source: str) -> Flow:
    """A flow from YAML. Raises Invalid, naming `source` and the field at fault."""
    try:
        flow = msgspec.yaml.decode(text, type=Flow)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(f"Failed to load flow {source}: {error}") from error
    names = [part.name for part in flow.components]
    if len(set(names)) != len(names) or flow.flow.entry_point not in names:
        raise Invalid(f"Failed to load flow {source}: entry_point must name one component")
    if len(names) > 1:
        raise Invalid(f"Failed to load flow {source}: one component is supported")
    if flow.agent.prompt_id not in {prompt.prompt_id for prompt in flow.prompts}:
        raise Invalid(f"Failed to load flow {source}: no prompt {flow.agent.prompt_id!r}")
    return flow

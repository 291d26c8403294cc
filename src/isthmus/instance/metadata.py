"""Which model a session is told to use, as the text of the metadata header; and stickiness.

Source: instance contract, sections 2.5 and 2.8.
"""

from dataclasses import dataclass
from typing import Final

from isthmus.core.accounts import Member, Place
from isthmus.core.workflow import Workflow
from isthmus.instance.discovery import Discovery
from isthmus.instance.flags import Flags

HEADER: Final = "x-gitlab-agent-platform-model-metadata"
CHAT_FEATURE: Final = "duo_agent_platform_agentic_chat"
JOB_FEATURE: Final = "duo_agent_platform"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a connection asks for: the feature, and the model its user picked (or nothing)."""

    feature: str = CHAT_FEATURE
    selected: str = ""


class ModelMetadata:
    """Resolves the metadata, or hands out what the workflow stored."""

    def __init__(self, discovery: Discovery, flags: Flags) -> None:
        self._discovery = discovery
        self._flags = flags

    async def resolved(self, member: Member, place: Place, wanted: Wanted) -> str:
        """The text by pin, selection or default; an unknown selection falls back to the default."""
        raise NotImplementedError

    async def text(
        self, member: Member, place: Place, wanted: Wanted, workflow: Workflow | None
    ) -> str:
        """The stored text, byte for byte, where the flag is on and there is one; else resolved."""
        raise NotImplementedError

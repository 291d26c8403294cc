"""Which model a session is told to use, as the text of the metadata header; and stickiness.

Source: instance contract, sections 2.5 and 2.8.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from isthmus.core.accounts import Member, Place
from isthmus.core.flags import STICKINESS
from isthmus.core.workflow import Workflow
from isthmus.instance.discovery import Discovery, Offer
from isthmus.instance.flags import Flags

HEADER: Final = "x-gitlab-agent-platform-model-metadata"
CHAT_FEATURE: Final = "duo_agent_platform_agentic_chat"
JOB_FEATURE: Final = "duo_agent_platform"
_SWITCHING: Final = "ai_user_model_switching"


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
        """The text by pin, selection or default; an unknown selection falls back to the default.

        Empty when there is nothing to say: no such feature, or no model of it can serve.
        """
        offer = self._discovery.offer(wanted.feature)
        if offer.pinned is not None:
            return _text(wanted.feature, offer.pinned.ref)
        if offer.default is None:
            return ""
        picked = _picked(offer, wanted.selected)
        if picked and not await self._flags.on(_SWITCHING, place, member.user):
            picked = ""
        return _text(wanted.feature, picked)

    async def text(
        self, member: Member, place: Place, wanted: Wanted, workflow: Workflow | None
    ) -> str:
        """The stored text, byte for byte, where the flag is on and there is one; else resolved.

        `place` is where the workflow belongs, if there is one: the flag looks at its root. A stored
        text that no header can carry counts as none.
        """
        stored = "" if workflow is None else workflow.model
        if _portable(stored) and await self._flags.on(STICKINESS, place, member.user):
            return stored
        return await self.resolved(member, place, wanted)


def _picked(offer: Offer, selected: str) -> str:
    """The selection, when it is on offer and names one model."""
    found = next((one for one in offer.selectable if one.ref == selected), None)
    return "" if found is None or found.drawn else found.ref


def _text(feature: str, identifier: str) -> str:
    named = {"provider": "gitlab", "feature_setting": feature, "identifier": identifier or None}
    return msgspec.json.encode(named).decode()


def _portable(text: str) -> bool:
    return bool(text.strip()) and text.isascii() and text.isprintable()

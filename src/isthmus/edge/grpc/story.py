"""What the line of an RPC says beside its outcome: who called, which session, how it went.

Source: agent-platform contract, sections 10.1 (labels) and 10.2 (fields).
"""

from collections.abc import Mapping
from typing import Any, Final

from isthmus.contract.contract_pb2 import Action, ClientEvent
from isthmus.core.identity import LABELS, ClientInfo

VALUE_LIMIT: Final = 256
NO_START: Final = "NO_START_REQUEST"
EMPTY_START: Final = "EMPTY_START_REQUEST"
_BOUND: Final = {
    "gitlab_global_user_id": "x-gitlab-global-user-id",
    "gitlab_instance_id": "x-gitlab-instance-id",
}


class Story:
    """Of one RPC. `unstarted` is why a session's stream ended before it began."""

    __slots__ = ("fields", "unstarted")

    def __init__(self, headers: Mapping[str, str]) -> None:
        labels = zip(LABELS, ClientInfo(headers).labels, strict=True)
        bound = ((name, headers.get(header, "")) for name, header in _BOUND.items())
        self.fields: dict[str, object] = {
            name: value[:VALUE_LIMIT] for name, value in (*labels, *bound) if value
        }
        self.unstarted = ""

    def opened(self) -> None:
        """A session's stream, which has said nothing yet."""
        self.unstarted = NO_START

    def heard(self, event: ClientEvent) -> None:
        """The client of a session said something."""
        match event.WhichOneof("response"):
            case "startRequest" if self.unstarted:
                start = event.startRequest
                self.unstarted = "" if start.workflowID else EMPTY_START
                self._note("workflow_id", start.workflowID)
                self._note("workflow_definition", start.workflowDefinition)
                self._note("flow_name", start.flowConfigId)
                self._note("item_version", start.flowVersion)
                self._note("schema_version", start.flowConfigSchemaVersion)
            case "stopWorkflow":
                self._note("workflow_stop_reason", event.stopWorkflow.reason or "user")
            case _:
                pass

    def told(self, action: Action) -> None:
        """The client of a session was told something."""
        if action.HasField("newCheckpoint"):
            self._note("workflow_last_gitlab_status", action.newCheckpoint.status)

    def failed(self, failure: BaseException) -> None:
        """What ended it; its words stand in the status."""
        self.fields["exception_class"] = type(failure).__name__

    def _note(self, name: str, value: str) -> None:
        if value:
            self.fields[name] = value[:VALUE_LIMIT]


class Watched:
    """A servicer's context together with the story of its RPC; the rest is the context's own."""

    __slots__ = ("_context", "story")

    def __init__(self, context: object, story: Story) -> None:
        self._context = context
        self.story = story

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def story_of(context: object) -> Story:
    """The story of the RPC that a servicer was given; one that nobody reads, without any."""
    story: object = getattr(context, "story", None)
    return story if isinstance(story, Story) else Story({})

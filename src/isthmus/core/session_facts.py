"""Facts of a session's stream and of its flow, beside those that every part of the server knows.

A fact never carries a secret, a prompt or an answer.
"""

from msgspec import Struct


class SessionAsked(Struct, frozen=True, gc=False):
    """A stream's start message came. `about` is what a log may hold of it.

    `client` are the values of `core.identity.LABELS`, by name.
    """

    workflow_id: str
    definition: str
    client: tuple[tuple[str, str], ...] = ()
    about: tuple[tuple[str, object], ...] = ()


class SessionRejected(Struct, frozen=True, gc=False):
    """A stream was turned away before its turn began; `reason` is the class of the failure."""

    workflow_id: str
    definition: str
    reason: str


class SessionAnswered(Struct, frozen=True, gc=False):
    """The first action of a session's stream goes to its client, `after_s` its start."""

    workflow_id: str
    definition: str
    after_s: float


class ActionAnswered(Struct, frozen=True, gc=False):
    """A client carried out an action; `action` is the contract's oneof name.

    Of an HTTP request `method`, the route with `:id` for what names a thing, and the `status`.
    """

    workflow_id: str
    action: str
    duration_s: float
    method: str = ""
    endpoint: str = ""
    status: int = 0


class CheckpointWritten(Struct, frozen=True, gc=False):
    """A checkpoint was stored; `elsewhere`: at the session's own instance, by its client."""

    workflow_id: str
    size_bytes: int
    blobs: int
    duration_s: float
    elsewhere: bool = False


class RouteTaken(Struct, frozen=True, gc=False):
    """A flow went on behind a component by the text of a value.

    `value` is one that the flow names, or `invalid_route`. `default`: the way for all others.
    """

    workflow_id: str
    definition: str
    component: str
    value: str
    default: bool


class AnswerShaped(Struct, frozen=True, gc=False):
    """An agent gave a structured answer of a kind that its flow wants to be counted."""

    workflow_id: str
    definition: str
    component: str


class Compacted(Struct, frozen=True, gc=False):
    """A conversation was to be summed up. `status`: success, empty or failed."""

    workflow_id: str
    definition: str
    agent: str
    status: str
    duration_s: float

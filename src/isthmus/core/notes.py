"""What is noted of a request on its way, for its own reply and its own record alone.

Like the request's id it travels beside the call, because no use case decides by it.
"""

from contextvars import ContextVar

from isthmus.core.limits import Standing


class Notes:
    """Written by the model layer, read by the edge when the reply begins and when it ends."""

    __slots__ = ("call_id", "deployment", "limits", "upstream_s")

    def __init__(self) -> None:
        self.limits: Standing | None = None
        self.upstream_s = 0.0
        """Time for which the request waited for models, or in their queues."""
        self.deployment = ""
        self.call_id = ""


NOTES: ContextVar[Notes | None] = ContextVar("isthmus_notes", default=None)

"""One socket a workflow: locks of this process, held as long as a session runs.

A lock ends with its session, so it needs no expiry. Source: instance contract, section 3.6.
"""

from typing import Final

TAKEN: Final = "Failed to acquire lock on workflow"


class Locks:
    """Which workflows have a socket."""

    def __init__(self) -> None:
        self._held: set[str] = set()

    def take(self, workflow_id: str) -> bool:
        """Hold it; false when somebody does already. Never waits."""
        if workflow_id in self._held:
            return False
        self._held.add(workflow_id)
        return True

    def free(self, workflow_id: str) -> None:
        """Let it go; one that nobody holds is no error."""
        self._held.discard(workflow_id)

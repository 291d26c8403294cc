"""Which files the agent has seen in this run, so that it edits nothing that it has not read."""

from collections import OrderedDict
from hashlib import sha256

from isthmus.core.errors import ToolRefused
from isthmus.executor.paths import Parts

KEPT = 10_000


class Seen:
    """Digests of what was read or written, the latest `KEPT` files."""

    def __init__(self) -> None:
        self._digests: OrderedDict[Parts, bytes] = OrderedDict()
        self._own: set[Parts] = set()

    def note(self, parts: Parts, data: bytes, *, created: bool = False) -> None:
        """The agent knows this content now; `created` says that the file is its own work."""
        self._digests[parts] = sha256(data).digest()
        self._digests.move_to_end(parts)
        if created:
            self._own.add(parts)
        if len(self._digests) > KEPT:
            self._own.discard(self._digests.popitem(last=False)[0])

    def require(self, parts: Parts, data: bytes, path: str) -> None:
        """Raises ToolRefused unless the file was read in this run and is still as it was."""
        known = self._digests.get(parts)
        if known is None:
            raise ToolRefused(f'File has not been read yet: "{path}". Read it before editing it.')
        if known != sha256(data).digest():
            raise ToolRefused(
                f'File was modified since it was read: "{path}". Read it again before editing it.'
            )

    def made(self, parts: Parts, data: bytes) -> bool:
        """Whether the agent created this file in this run, and knew this content last."""
        return parts in self._own and self._digests.get(parts) == sha256(data).digest()

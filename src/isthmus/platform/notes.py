"""Threads of notes on the instance."""

from isthmus.core.errors import ToolRefused
from isthmus.platform.declared import at, segment
from isthmus.platform.listing import all_of
from isthmus.platform.tool import Client


async def thread_of(path: str, note_id: int, client: Client) -> str:
    """The id of the discussion below `path` that holds a note, quoted. Raises ToolRefused."""
    for discussion in await all_of(client, f"{path}/discussions"):
        if any(at(note, "id") == note_id for note in discussion.get("notes") or ()):
            return segment(discussion.get("id"), "note_id")
    raise ToolRefused(f"There is no note {note_id} here.")

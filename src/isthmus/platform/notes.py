"""Notes on the instance: new ones, and replies in their threads."""

from dataclasses import dataclass

from isthmus.core.errors import ToolRefused
from isthmus.platform import instance_api
from isthmus.platform.instance_text import at, checked, segment
from isthmus.platform.listing import all_of
from isthmus.platform.tool import Client


@dataclass(frozen=True, slots=True)
class Note:
    """A text to write; `reply_to` is the number of a note in whose thread it belongs."""

    body: str
    reply_to: int | None
    internal: bool


async def thread_of(path: str, note_id: int, client: Client) -> str:
    """The id of the discussion below `path` that holds a note, quoted. Raises ToolRefused."""
    for discussion in await all_of(client, f"{path}/discussions"):
        if any(at(note, "id") == note_id for note in discussion.get("notes") or ()):
            return segment(discussion.get("id"), "note_id")
    raise ToolRefused(f"There is no note {note_id} here.")


async def write(path: str, note: Note, client: Client) -> str:
    """A note on what is at `path`, as the instance stored it. Raises ToolRefused."""
    if note.reply_to is not None:
        thread = await thread_of(path, note.reply_to, client)
        path, asked = f"{path}/discussions/{thread}/notes", {"body": note.body}
    else:
        path, asked = f"{path}/notes", {"body": note.body, "internal": note.internal}
    return checked(await instance_api.request(client, "POST", path, asked)).body

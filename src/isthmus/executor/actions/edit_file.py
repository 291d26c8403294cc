"""runEditFile: replace one fragment of a file."""

import asyncio

from isthmus.contract.contract_pb2 import EditFile
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import ActionKind, Machine

_COUNTED = 1000


async def run(message: EditFile, machine: Machine) -> str:
    """Replace `oldString`, which must occur exactly once, by `newString`."""
    path = message.filepath
    data = await asyncio.to_thread(machine.workspace.read, path)
    await machine.git.require_visible(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ToolRefused(f"{path}: is not UTF-8 text") from error
    changed = replaced(text, message.oldString, message.newString, path)
    await asyncio.to_thread(machine.workspace.write, path, changed.encode("utf-8"))
    return f"File '{path}' has been updated."


def replaced(text: str, old: str, new: str, path: str) -> str:
    """The text with its only `old` replaced; line ends follow the file's. Raises ToolRefused."""
    if not old:
        raise ToolRefused("the text to replace is empty; write the whole file instead")
    if "\r\n" in text:
        old, new = (part.replace("\r\n", "\n").replace("\n", "\r\n") for part in (old, new))
    count = occurrences(text, old)
    if count != 1:
        raise ToolRefused(
            f"{path}: the text to replace occurs {count} times, it must occur exactly once; "
            "nothing was changed"
        )
    return text.replace(old, new, 1)


def occurrences(text: str, part: str) -> int:
    """How often `part` begins in `text`, overlaps included; counting stops at 1,000."""
    count = 0
    at = text.find(part)
    while at >= 0 and count < _COUNTED:
        count += 1
        at = text.find(part, at + 1)
    return count


ACTION = ActionKind(field="runEditFile", effect="write", run=run)

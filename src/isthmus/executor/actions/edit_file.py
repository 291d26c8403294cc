"""runEditFile: replace one fragment of a file that was read before."""

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
    parts = machine.workspace.parts(path)
    machine.seen.require(parts, data, path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ToolRefused(f"{path}: is not UTF-8 text") from error
    changed = replaced(text, message.oldString, message.newString, path)
    if changed is None:
        return f"No changes made to '{path}' as '{message.oldString}' not found"
    after = changed.encode("utf-8")
    await asyncio.to_thread(machine.workspace.write, path, after)
    machine.seen.note(parts, after)
    return f"File '{path}' has been updated."


def replaced(text: str, old: str, new: str, path: str) -> str | None:
    """The text with its only `old` replaced, None when it holds none; line ends follow the file's.

    Raises ToolRefused when there are several, or `old` is empty and the file is not.
    """
    if not old:
        if text:
            raise ToolRefused("the text to replace is empty, and the file is not")
        return new
    end = "\r\n" if "\r\n" in text else "\n"
    old, new = (part.replace("\r\n", "\n").replace("\n", end) for part in (old, new))
    count = occurrences(text, old)
    if count > 1:
        raise ToolRefused(
            f"{path}: ambiguous match, the text to replace occurs {count} times; quote more of "
            "what stands around it. Nothing was changed"
        )
    return text.replace(old, new, 1) if count else None


def occurrences(text: str, part: str) -> int:
    """How often `part` begins in `text`, overlaps included; counting stops at 1,000."""
    count = 0
    at = text.find(part)
    while at >= 0 and count < _COUNTED:
        count += 1
        at = text.find(part, at + 1)
    return count


ACTION = ActionKind(field="runEditFile", effect="write", run=run)

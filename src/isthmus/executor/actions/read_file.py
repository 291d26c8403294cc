"""runReadFile: a text file, whole or a window of its lines."""

import asyncio

from isthmus.contract.contract_pb2 import ReadFile
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import ActionKind, Machine

LINES = 2000
_SNIFFED_BYTES = 8192


async def run(message: ReadFile, machine: Machine) -> str:
    """The file's text; with an offset (0 is the first line) or a limit, those lines and a note."""
    text = await text_of(message.filepath, machine)
    if not message.HasField("offset") and not message.HasField("limit"):
        return text
    limit = message.limit if message.HasField("limit") else LINES
    return window(text, message.offset, limit)


async def text_of(path: str, machine: Machine) -> str:
    """A file as text; bytes that are not UTF-8 become U+FFFD. Raises ToolRefused."""
    data = await asyncio.to_thread(machine.workspace.read, path)
    await machine.git.require_visible(path)
    if b"\0" in data[:_SNIFFED_BYTES]:
        raise ToolRefused(f"{path}: is a binary file")
    return data.decode("utf-8", "replace")


def window(text: str, offset: int, limit: int) -> str:
    """Lines `offset` to `offset + limit`, and where to go on when that is not all."""
    if offset < 0 or limit < 1:
        raise ToolRefused("offset must be 0 or more, and limit 1 or more")
    lines = text.split("\n")
    total = len(lines) - (1 if lines[-1] == "" else 0)
    if offset == 0 and limit >= total:
        return text
    if offset >= total:
        raise ToolRefused(f"offset {offset} is past the end: the file has {total} lines")
    end = min(offset + limit, total)
    note = f"(Showing lines {offset + 1}-{end} of {total} total."
    more = f" Use offset={end} to continue reading." if end < total else ""
    return "\n".join(lines[offset:end]) + f"\n\n{note}{more})"


ACTION = ActionKind(field="runReadFile", effect="read", run=run)

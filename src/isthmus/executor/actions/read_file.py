"""runReadFile: a window of a text file's lines."""

import asyncio

from isthmus.contract.contract_pb2 import ReadFile
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import ActionKind, Machine

LINES = 2000
OUTPUT_BYTES = 50 * 1024
_SNIFFED_BYTES = 8192


async def run(message: ReadFile, machine: Machine) -> str:
    """Lines from `offset` (0 is the first), at most `limit` and 50 KB of them."""
    text = await text_of(message.filepath, machine)
    limit = message.limit if message.HasField("limit") else LINES
    return window(text, message.offset, limit)


async def text_of(path: str, machine: Machine) -> str:
    """A file as text; bytes that are not UTF-8 become U+FFFD. Raises ToolRefused."""
    data = await asyncio.to_thread(machine.workspace.read, path)
    await machine.git.require_visible(path)
    if b"\0" in data[:_SNIFFED_BYTES]:
        raise ToolRefused(f"{path}: is a binary file")
    machine.seen.note(machine.workspace.parts(path), data)
    return data.decode("utf-8", "replace")


def window(text: str, offset: int, limit: int) -> str:
    """Lines `offset` to `offset + limit`, and where to go on when that is not all."""
    if offset < 0 or limit < 1:
        raise ToolRefused("offset must be 0 or more, and limit 1 or more")
    lines = text.split("\n")
    total = len(lines)
    if offset >= total:
        raise ToolRefused(f"offset {offset} is past the end: the file has {total} lines")
    shown = _within(lines[offset : offset + limit])
    body = "\n".join(shown)
    end = offset + len(shown)
    if len(shown) == total and body == text:
        return text
    note = f"(Showing lines {offset + 1}-{end} of {total} total."
    more = f" Use offset={end} to continue reading." if end < total else ""
    return f"{body}\n\n{note}{more})"


def _within(lines: list[str]) -> list[str]:
    """As many of the lines as fit; the first one is cut when it alone does not."""
    left = OUTPUT_BYTES
    for number, line in enumerate(lines):
        size = len(line.encode("utf-8", "replace")) + 1
        if size > left:
            if number:
                return lines[:number]
            return [line.encode("utf-8", "replace")[:OUTPUT_BYTES].decode("utf-8", "ignore")]
        left -= size
    return lines


ACTION = ActionKind(field="runReadFile", effect="read", run=run)

"""runWriteFile: put a new file in place."""

import asyncio

from isthmus.contract.contract_pb2 import WriteFile
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import ActionKind, Machine


async def run(message: WriteFile, machine: Machine) -> str:
    """Create the file; one that exists is refused.

    A session that resumes may repeat what this run has done already: that is fine.
    """
    path = message.filepath
    parts = machine.workspace.parts(path)
    await machine.git.require_visible(path)
    data = message.contents.encode("utf-8")
    if not (machine.seen.made(parts, data) and await _holds(machine, path, data)):
        await asyncio.to_thread(machine.workspace.write, path, data, new=True)
        machine.seen.note(parts, data, created=True)
    return "File written successfully"


async def _holds(machine: Machine, path: str, data: bytes) -> bool:
    try:
        return await asyncio.to_thread(machine.workspace.read, path) == data
    except ToolRefused:
        return False


ACTION = ActionKind(field="runWriteFile", effect="write", run=run)

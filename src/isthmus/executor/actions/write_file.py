"""runWriteFile: put a whole file in place."""

import asyncio

from isthmus.contract.contract_pb2 import WriteFile
from isthmus.executor.action import ActionKind, Machine


async def run(message: WriteFile, machine: Machine) -> str:
    """Write the file; doing it twice is fine, so a session that resumes may repeat it."""
    machine.workspace.parts(message.filepath)
    await machine.git.require_visible(message.filepath)
    data = message.contents.encode("utf-8")
    await asyncio.to_thread(machine.workspace.write, message.filepath, data)
    return "File written successfully"


ACTION = ActionKind(field="runWriteFile", effect="write", run=run)

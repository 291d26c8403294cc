"""listDirectory: the names in one directory."""

import asyncio

from isthmus.contract.contract_pb2 import ListDirectory
from isthmus.executor.action import ActionKind, Machine

NAMES = 5000


async def run(message: ListDirectory, machine: Machine) -> str:
    """One name a line, directories with a `/`; what git ignores is left out."""
    names = await asyncio.to_thread(machine.workspace.entries, message.directory)
    above = "".join(f"{part}/" for part in machine.workspace.parts(message.directory))
    ignored = await machine.git.ignored([above + name for name in names])
    shown = [name for name in names if above + name not in ignored]
    rest = len(shown) - NAMES
    return "\n".join(shown[:NAMES] + ([f"({rest} more entries)"] if rest > 0 else []))


ACTION = ActionKind(field="listDirectory", effect="read", run=run)

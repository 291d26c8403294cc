"""mkdir: make a directory, and the ones above it."""

import asyncio

from isthmus.contract.contract_pb2 import Mkdir
from isthmus.executor.action import ActionKind, Machine


async def run(message: Mkdir, machine: Machine) -> str:
    """Make the directory; one that exists is fine."""
    path = message.directory_path
    await asyncio.to_thread(machine.workspace.make_directory, path)
    return f'Directory created successfully: "{path}"'


ACTION = ActionKind(field="mkdir", effect="write", run=run)

"""findFiles: files whose path matches a glob."""

import asyncio
from collections.abc import Iterable

from isthmus.contract.contract_pb2 import FindFiles
from isthmus.executor.action import ActionKind, Machine
from isthmus.executor.glob import matcher

FILES = 2000


async def run(message: FindFiles, machine: Machine) -> str:
    """One path a line, relative to the workspace; what git ignores is left out."""
    matches = matcher(message.name_pattern)
    files = await machine.git.files()

    def search() -> list[str]:
        every: Iterable[str] = machine.workspace.walk() if files is None else sorted(files)
        found: list[str] = []
        for path in every:
            if matches(path) and machine.workspace.holds_file(path):
                found.append(path)
                if len(found) > FILES:
                    break
        return found

    found = await asyncio.to_thread(search)
    cut = [f"(only the first {FILES} files; narrow the pattern)"] if len(found) > FILES else []
    return "\n".join(found[:FILES] + cut)


ACTION = ActionKind(field="findFiles", effect="read", run=run)

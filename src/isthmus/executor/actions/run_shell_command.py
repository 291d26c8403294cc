"""runShellCommand: refused; this executor starts programs, never a shell."""

from isthmus.contract.contract_pb2 import RunShellCommand
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import ActionKind, Machine


async def run(message: RunShellCommand, machine: Machine) -> str:
    """Refuse. The capability `shell_command` is not declared."""
    del message, machine
    raise ToolRefused("This executor runs no shell commands; run a program with its arguments.")


ACTION = ActionKind(field="runShellCommand", effect="run", run=run)

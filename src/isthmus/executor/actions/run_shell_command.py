"""runShellCommand: a line of shell in the workspace."""

from isthmus.contract.contract_pb2 import PlainTextResponse, RunShellCommand
from isthmus.executor.action import ActionKind, Machine
from isthmus.executor.commands import DEFAULT_S, ran

SHELL = "/bin/sh"


async def run(message: RunShellCommand, machine: Machine) -> PlainTextResponse:
    """The line, given to the shell; the timeout is in seconds."""
    machine.policy.check_line(message.command)
    timeout_s = message.timeout if message.HasField("timeout") else DEFAULT_S
    return await ran((SHELL, "-c", message.command), timeout_s, machine)


ACTION = ActionKind(field="runShellCommand", effect="run", run=run)

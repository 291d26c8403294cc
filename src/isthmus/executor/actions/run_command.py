"""runCommand: a program in the workspace, without a shell."""

from isthmus.contract.contract_pb2 import PlainTextResponse, RunCommandAction
from isthmus.executor.action import ActionKind, Machine
from isthmus.executor.commands import DEFAULT_S, ran


async def run(message: RunCommandAction, machine: Machine) -> PlainTextResponse:
    """The program with its flags and arguments; the timeout is in seconds."""
    argv = (message.program, *message.flags, *message.arguments)
    machine.policy.check(argv)
    timeout_s = message.timeout if message.HasField("timeout") else DEFAULT_S
    return await ran(argv, timeout_s, machine)


ACTION = ActionKind(field="runCommand", effect="run", run=run)

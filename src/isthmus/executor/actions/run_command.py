"""runCommand: a program in the workspace, without a shell."""

from isthmus.contract.contract_pb2 import PlainTextResponse, RunCommandAction
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import ActionKind, Machine
from isthmus.executor.process import Bounds
from isthmus.executor.process import run as run_program

DEFAULT_S = 120
LONGEST_S = 3600


async def run(message: RunCommandAction, machine: Machine) -> PlainTextResponse:
    """`Exit code: n` and the output; a program that fails is no error of the action."""
    if not message.program:
        raise ToolRefused("no program was named")
    timeout_s = message.timeout if message.HasField("timeout") else DEFAULT_S
    if not 0 < timeout_s <= LONGEST_S:
        raise ToolRefused(f"a timeout is 1 to {LONGEST_S} seconds")
    argv = (message.program, *message.flags, *message.arguments)
    ended = await run_program(
        argv, machine.workspace.root, machine.environment, Bounds(float(timeout_s))
    )
    output = ended.output.decode("utf-8", "replace")
    if ended.code is None:
        error = f"Command timed out after {timeout_s}s"
        return PlainTextResponse(response=output, error=error)
    return PlainTextResponse(response=f"Exit code: {ended.code}\n{output}")


ACTION = ActionKind(field="runCommand", effect="run", run=run)

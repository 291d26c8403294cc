"""Runs a command for an action, and words the answer.

Source: instance contract, section 6.4.
"""

from collections.abc import Mapping, Sequence

from isthmus.contract.contract_pb2 import PlainTextResponse
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import Machine
from isthmus.executor.process import Bounds, run

DEFAULT_S = 120
LONGEST_S = 3600


async def ran(
    argv: Sequence[str], timeout_s: int, machine: Machine, lent: Mapping[str, str] | None = None
) -> PlainTextResponse:
    """`Exit code: n` and the output; a program that fails is no error of the action.

    `lent` are variables that this command alone gets. Raises ToolRefused.
    """
    if not 0 < timeout_s <= LONGEST_S:
        raise ToolRefused(f"a timeout is 1 to {LONGEST_S} seconds")
    environment = {**machine.environment, **(lent or {})}
    ended = await run(argv, machine.workspace.root, environment, Bounds(float(timeout_s)))
    output = ended.output.decode("utf-8", "replace")
    if ended.code is None:
        return PlainTextResponse(response=output, error=f"Command timed out after {timeout_s}s")
    return PlainTextResponse(response=f"Exit code: {ended.code}\n{output}")

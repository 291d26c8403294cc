"""runGitCommand: refused; git is run like any other program."""

from isthmus.contract.contract_pb2 import RunGitCommand
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import ActionKind, Machine


async def run(message: RunGitCommand, machine: Machine) -> str:
    """Refuse: the action would bring credentials, and this executor has none to lend."""
    del message, machine
    raise ToolRefused("This executor has no git credentials; run the program git instead.")


ACTION = ActionKind(field="runGitCommand", effect="run", run=run)

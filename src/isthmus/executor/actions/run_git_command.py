"""runGitCommand: git with checked arguments; remote commands get the login that was lent."""

from isthmus.contract.contract_pb2 import PlainTextResponse, RunGitCommand
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import ActionKind, Machine
from isthmus.executor.commands import DEFAULT_S, ran
from isthmus.executor.git_arguments import REMOTE, git_words


async def run(message: RunGitCommand, machine: Machine) -> PlainTextResponse:
    """Answered like any command; a new commit gets the session's trailers."""
    words = git_words(message.command, message.arguments)
    machine.policy.check(("git", *words))
    if not machine.git.installed:
        raise ToolRefused("There is no git on this machine.")
    if words[0] == "commit" and "--amend" not in words:
        words[1:1] = [f"--trailer={trailer}" for trailer in machine.lent.trailers]
    login = machine.lent.git_login if words[0] in REMOTE else None
    return await ran(("git", *words), DEFAULT_S, machine, login)


ACTION = ActionKind(field="runGitCommand", effect="run", run=run)

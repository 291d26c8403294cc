"""Runs a program on the client's machine."""

import shlex
from typing import Annotated

from msgspec import Meta, Struct

from isthmus.contract.contract_pb2 import Action, RunCommandAction, RunShellCommand
from isthmus.core.errors import ToolRefused
from isthmus.platform.tool import Client, Tool

DEFAULT_TIMEOUT_S = 120
_Timeout = Annotated[
    Annotated[int, Meta(ge=1, le=3600)] | None,
    Meta(description="Seconds after which the command is ended."),
]


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of the variant that starts a program without a shell."""

    program: Annotated[str, Meta(description="The program, such as `git`.", min_length=1)]
    args: Annotated[
        str | None, Meta(description="Its arguments in one line, quoted as for a shell.")
    ] = None
    timeout: _Timeout = None


class ShellArgs(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of the variant that runs a whole command line."""

    command: Annotated[str, Meta(description="The command line.", min_length=1)]
    timeout: _Timeout = None


async def run(args: Args, client: Client) -> str:
    """Exit code and output, as the client prints them."""
    try:
        arguments = shlex.split(args.args or "")
    except ValueError as error:
        raise ToolRefused("The arguments hold an unbalanced quote.") from error
    action = RunCommandAction(
        program=args.program, arguments=arguments, timeout=_timeout_s(args.timeout, client)
    )
    reply = await client.ask(Action(runCommand=action))
    return reply.plainTextResponse.response


async def run_shell(args: ShellArgs, client: Client) -> str:
    """Exit code and output, as the client prints them."""
    action = RunShellCommand(command=args.command, timeout=_timeout_s(args.timeout, client))
    reply = await client.ask(Action(runShellCommand=action))
    return reply.plainTextResponse.response


def words(args: Args | ShellArgs) -> list[str]:
    """The command's words, for offers of wider approvals."""
    line = args.command if isinstance(args, ShellArgs) else f"{args.program} {args.args or ''}"
    return line.split()


def _timeout_s(asked_s: int | None, client: Client) -> int | None:
    if client.has("command_timeout"):
        return DEFAULT_TIMEOUT_S if asked_s is None else asked_s
    if asked_s is not None:
        raise ToolRefused("This client takes no timeout; leave it out.")
    return None


_SHELL = Tool(
    name="run_command",
    description="Run a command line in a shell, in the root of the workspace.",
    args=ShellArgs,
    run=run_shell,
    effect="run",
    title=lambda args: f"Run {' '.join(words(args))}",
)

TOOL = Tool(
    name="run_command",
    description="Run one program with arguments in the root of the workspace; there is no shell.",
    args=Args,
    run=run,
    effect="run",
    title=lambda args: f"Run {' '.join(words(args))}",
    variants=(("shell_command", _SHELL),),
)

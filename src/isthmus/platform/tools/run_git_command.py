"""Runs git in the workspace."""

import shlex
from typing import Annotated

from msgspec import Meta, Struct

from isthmus.contract.contract_pb2 import Action, RunCommandAction
from isthmus.core.errors import ToolRefused
from isthmus.platform.tool import Client, Tool


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    repository_url: Annotated[
        str, Meta(description="Address of the repository; the checkout at hand is used.")
    ]
    command: Annotated[
        str,
        Meta(description="The git command, such as `status`.", pattern=r"^[a-z][a-z-]{0,40}$"),
    ]
    args: Annotated[
        str | None, Meta(description="Its arguments in one line, quoted as for a shell.")
    ] = None


async def run(args: Args, client: Client) -> str:
    """Exit code and output, as the client prints them."""
    try:
        arguments = shlex.split(args.args or "")
    except ValueError as error:
        raise ToolRefused("The arguments hold an unbalanced quote.") from error
    action = RunCommandAction(program="git", arguments=[args.command, *arguments])
    reply = await client.ask(Action(runCommand=action))
    return reply.plainTextResponse.response


TOOL = Tool(
    name="run_git_command",
    description="Run one git command in the checkout, such as status, diff, add, commit or push.",
    args=Args,
    run=run,
    effect="git",
    title=lambda args: f"Run git {args.command} {args.args or ''}".rstrip(),
)

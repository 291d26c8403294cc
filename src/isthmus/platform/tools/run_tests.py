"""Runs the project's tests."""

import shlex
from typing import Annotated

from msgspec import Meta, Struct

from isthmus.contract.contract_pb2 import Action, RunCommandAction
from isthmus.core.errors import ToolRefused
from isthmus.platform.tool import Client, Tool


class Args(Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments."""

    command: Annotated[
        str, Meta(description="The command, such as `pytest -q`; there is no shell.", min_length=1)
    ]


async def run(args: Args, client: Client) -> str:
    """Exit code and output, as the client prints them."""
    try:
        program, *arguments = shlex.split(args.command)
    except ValueError as error:
        raise ToolRefused("The command is empty, or holds an unbalanced quote.") from error
    action = RunCommandAction(program=program, arguments=arguments)
    reply = await client.ask(Action(runCommand=action))
    return reply.plainTextResponse.response


TOOL = Tool(
    name="run_tests",
    description="Run the project's tests, or some of them, and get what they print.",
    args=Args,
    run=run,
    effect="write",
    title=lambda args: f"Run {args.command}",
)

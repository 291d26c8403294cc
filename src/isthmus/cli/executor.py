"""`isthmus executor`: runs a session against a platform and carries out its actions here."""

import argparse
import asyncio
import base64
import json
import secrets
import signal
import sys
from pathlib import Path
from typing import cast

from isthmus.cli.token import mint
from isthmus.core.errors import CannotSign
from isthmus.executor import actions
from isthmus.executor.action import Machine
from isthmus.executor.answer import Answerer, load_actions
from isthmus.executor.approve import Approver
from isthmus.executor.channel import Access, Address, BadAddress, address_of
from isthmus.executor.client import Exit, Session, Task
from isthmus.executor.git import Git
from isthmus.executor.process import scrubbed
from isthmus.executor.screen import Screen
from isthmus.executor.turn import Hands
from isthmus.executor.workspace import Workspace
from isthmus.settings import Settings, environment

SUBJECT = "local"
SCOPES = ("duo_chat", "duo_agent_platform")
TOKEN_TTL_S = 12 * 3600
TOKEN_VARIABLE = "ISTHMUS_TOKEN"  # noqa: S105 - the variable's name
LARGEST_ID = 2**53 - 1
CONTRACT_VERSION = "18.7.0"
"""The instance version whose clients declare capabilities; without one they are not looked at."""


class Unusable(ValueError):
    """An argument cannot be used; the text names it."""


def add(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",  # pyright: ignore[reportPrivateUsage] - argparse has no public name for it
) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    parser = subparsers.add_parser(
        "executor",
        help="run a session on this machine",
        description=(
            "Run a session: the platform thinks, this command reads, edits and runs in the "
            "workspace. Exit codes: 0 done, 1 the session failed, 2 wrong usage, 3 the server is "
            "gone (retry), 130 interrupted."
        ),
    )
    parser.add_argument("--goal", default="", metavar="TEXT", help="what is to be done")
    parser.add_argument("--workspace", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--url", default="", help="grpc://host:port, or grpcs:// with TLS")
    parser.add_argument(
        "--approve",
        choices=("ask", "all", "none"),
        default="ask",
        help="who decides on changes: you (default), nobody is asked, or nothing is changed",
    )
    parser.add_argument("--workflow-id", default="", metavar="ID", help="go on with this session")
    parser.add_argument("--token", default="", help=f"bearer token, else {TOKEN_VARIABLE}")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the session to its end. Returns the exit code."""
    try:
        address = address_of(args.url or _own_url(settings))
        task = _task(args.goal, args.workflow_id)
        workspace = _workspace(args.workspace)
        access = _access(address, args.token, settings)
    except (BadAddress, Unusable) as error:
        sys.stderr.write(f"isthmus executor: {error}\n")
        return Exit.USAGE
    screen = Screen(sys.stdout, sys.stderr, sys.stdin)
    screen.notice(f"Session {task.workflow_id} on {workspace.root}")
    screen.notice(f"To go on with it later: --workflow-id {task.workflow_id}")
    given = scrubbed(environment())
    machine = Machine(workspace, Git(workspace, given), given)

    def report(action: str, bug: Exception) -> None:
        screen.notice(f"Bug in {action}: {type(bug).__name__}")

    answerer = Answerer(load_actions(actions), machine, report)
    session = Session(access, Hands(answerer, Approver(args.approve, screen)), screen)
    try:
        return asyncio.run(_interruptible(session, task))
    finally:
        screen.end_line()


async def _interruptible(session: Session, task: Task) -> int:
    """Run; the first interrupt stops the session in order, the second leaves at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    running = asyncio.current_task()

    def interrupt() -> None:
        if stop.is_set() and running is not None:
            running.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        return await session.run(task, stop)
    except asyncio.CancelledError:
        # Only `interrupt` cancels this task, which is the program's last.
        return Exit.INTERRUPTED


def _own_url(settings: Settings) -> str:
    scheme = "grpcs" if settings.grpc.tls.enabled else "grpc"
    return f"{scheme}://127.0.0.1:{settings.grpc.port}"


def _task(goal: str, workflow_id: str) -> Task:
    """A new session needs a goal; one that goes on may have another one."""
    if not goal.strip() and not workflow_id:
        raise Unusable("--goal is needed for a new session")
    if workflow_id and not (workflow_id.isascii() and workflow_id.isdecimal()):
        raise Unusable("--workflow-id must be a decimal number")
    if workflow_id and not 0 < int(workflow_id[:20]) <= LARGEST_ID:
        raise Unusable(f"--workflow-id must be from 1 to {LARGEST_ID}")
    return Task(workflow_id or str(1 + secrets.randbelow(LARGEST_ID)), goal)


def _workspace(directory: Path) -> Workspace:
    try:
        return Workspace(directory)
    except OSError as error:
        raise Unusable(f"--workspace: {error.strerror}: {directory}") from error


def _access(address: Address, token: str, settings: Settings) -> Access:
    """The token, and headers that agree with it."""
    token = token or environment().get(TOKEN_VARIABLE, "") or _minted(address, settings)
    if not token.isascii() or any(char.isspace() for char in token):
        raise Unusable("--token must be one word of ASCII text")
    claims = claimed(token)
    subject = claims.get("sub", SUBJECT)
    headers = {
        "x-gitlab-authentication-type": "oidc",
        "x-gitlab-instance-id": claims.get("gitlab_instance_id", subject),
        "x-gitlab-global-user-id": subject,
        "x-gitlab-realm": claims.get("gitlab_realm", ""),
        "x-gitlab-version": CONTRACT_VERSION,
        "x-gitlab-client-type": "isthmus-executor",
    }
    return Access(address, tuple((name, text) for name, text in headers.items() if text), token)


def claimed(token: str) -> dict[str, str]:
    """The text claims of a token, not verified: the headers that go with it must repeat them."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        decoded: object = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return {}
    claims = cast("dict[str, object]", decoded) if isinstance(decoded, dict) else {}
    return {
        name: value
        for name, value in claims.items()
        if isinstance(value, str) and value.isascii() and value.isprintable()
    }


def _minted(address: Address, settings: Settings) -> str:
    if not address.local:
        raise Unusable(f"a server elsewhere needs a token: --token, or {TOKEN_VARIABLE}")
    try:
        return mint(settings, SUBJECT, SCOPES, TOKEN_TTL_S)
    except (ValueError, OSError, CannotSign) as error:
        raise Unusable(f"no development token could be made: {error}") from error

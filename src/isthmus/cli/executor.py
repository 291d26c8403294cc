"""`isthmus executor`: runs a session and carries out its actions here, for a person or as a job."""

import argparse
import asyncio
import importlib
import platform
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from isthmus.adapters.outbound.trust import customised, identified, papers
from isthmus.cli.token import has_key, mint
from isthmus.contract.contract_pb2 import AdditionalContext, McpTool
from isthmus.core.errors import CannotSign
from isthmus.executor import actions
from isthmus.executor.action import Lent, Machine, Tools
from isthmus.executor.address import Address, BadAddress, address_of
from isthmus.executor.answer import Answerer, load_actions
from isthmus.executor.approve import Approver, Mode
from isthmus.executor.channel import Access
from isthmus.executor.client import Exit, Patience, Session
from isthmus.executor.connect import dial, git_login, over_relay, platform_headers, relay, trailers
from isthmus.executor.git import Git
from isthmus.executor.instance import InstanceClient, NotRegistered
from isthmus.executor.mask import Mask
from isthmus.executor.options import OPTIONS, TOKEN, Wanted, is_job, is_on, wanted
from isthmus.executor.outcome import worded
from isthmus.executor.policy import DENIED, Policy
from isthmus.executor.process import scrubbed, secret_values
from isthmus.executor.screen import Screen
from isthmus.executor.task import Flow, Malformed, Task, context_of, decision_of, flow_config_of
from isthmus.executor.trust import OWN, Trust
from isthmus.executor.turn import Hands
from isthmus.executor.wire import Dial
from isthmus.executor.workspace import Workspace
from isthmus.settings import Settings, environment

SUBJECT = "local"
SCOPES = ("duo_chat", "duo_agent_platform")
TOKEN_TTL_S = 12 * 3600
LARGEST_ID = 2**53 - 1
FLOW_BYTES = 1_000_000


class Unusable(ValueError):
    """An argument cannot be used; the text names it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, with everything checked that can be checked before anything is called."""

    options: Wanted
    workspace: Workspace
    mode: Mode
    policy: Policy
    headless: bool
    address: Address | None = None
    token: str = field(default="", repr=False)
    mcp_config: Path | None = None
    trust: Trust = OWN
    patience: Patience = field(default_factory=Patience)


def add(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",  # pyright: ignore[reportPrivateUsage] - argparse has no public name for it
) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    parser = subparsers.add_parser(
        "executor",
        help="run a session on this machine",
        description=(
            "Run a session: the platform thinks, this command reads, edits and runs in the "
            "workspace. As a job (--headless, or when DUO_WORKFLOW_WORKFLOW_ID is set) it takes "
            "its options from variables too, approves tool calls unless DUO_AUTO_APPROVE is "
            "false, and writes nothing but the result to standard output. Exit codes: 0 done, "
            "1 the session failed, 2 wrong usage, 75 the server is gone (retry), 130 interrupted."
        ),
    )
    _add_own(parser)
    for name, option in OPTIONS.items():
        parser.add_argument(
            *option.flags, dest=name, default="", metavar=option.metavar, help=option.about
        )
    parser.set_defaults(run=run)


def _add_own(parser: argparse.ArgumentParser) -> None:
    """Arguments that no variable stands for."""
    parser.add_argument("--headless", action="store_true", help="run as a job")
    parser.add_argument("--workspace", "--cwd", type=Path, default=Path(), metavar="DIR")
    parser.add_argument(
        "--url",
        default="",
        help="grpc://host:port, grpcs:// with TLS, or an instance's http(s)://",
    )
    parser.add_argument(
        "--approve",
        choices=("ask", "all", "none", "later"),
        help="who decides on changes: you (default), nobody is asked, nothing is changed, or the "
        "session is left waiting",
    )
    parser.add_argument("--token", default="", help=f"bearer token, else {TOKEN}")
    parser.add_argument("--flow", type=Path, metavar="FILE", help="run a flow of your own, YAML")
    parser.add_argument("--mcp-config", type=Path, metavar="FILE", help="MCP servers, JSON")
    parser.add_argument(
        "--patience",
        type=float,
        default=Patience().outage_s,
        metavar="SECONDS",
        help="how long a server that went away is waited for",
    )
    for flag, about in (("allow", "run only such commands"), ("deny", "never run such commands")):
        parser.add_argument(
            f"--{flag}-command", action="append", default=[], metavar="GLOB", help=about
        )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the session to its end. Returns the exit code."""
    given = environment()
    headless = bool(args.headless) or is_job(given)
    out = sys.stderr if headless else sys.stdout
    screen = Screen(out, sys.stderr, sys.stdin)
    options = Wanted()
    try:
        options = _with_flow(args.flow, wanted(vars(args), given if headless else {}))
        plan = _plan(args, settings, options, given)
        code, session, task = asyncio.run(_run(plan, screen, given))
    except (BadAddress, Unusable, Malformed, NotRegistered) as error:
        code = Exit.FAILED if isinstance(error, NotRegistered) else Exit.USAGE
        sys.stderr.write(f"isthmus executor: {error}\n")
        if headless and options.output_format == "json":
            sys.stdout.write(worded("json", code, options.workflow_id, "", str(error)))
        return code
    finally:
        screen.end_line()
    if headless:
        kind = options.output_format
        sys.stdout.write(worded(kind, code, task.workflow_id, session.result, session.failure))
    return code


def _with_flow(file: Path | None, options: Wanted) -> Wanted:
    """The options with the flow of a file in the place of an inline one."""
    if file is None:
        return options
    try:
        with file.open("rb") as opened:
            text = opened.read(FLOW_BYTES + 1)
        if len(text) > FLOW_BYTES:
            raise Unusable(f"--flow: {file} is larger than {FLOW_BYTES} bytes")
        value: object = msgspec.yaml.decode(text)
    except OSError as error:
        raise Unusable(f"--flow: {error.strerror}: {file}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unusable(f"--flow: {file}: {error}") from error
    return replace(options, flow_config=msgspec.json.encode(value).decode())


def _plan(
    args: argparse.Namespace, settings: Settings, options: Wanted, given: Mapping[str, str]
) -> Plan:
    headless = bool(args.headless) or is_job(given)
    if options.output_format not in {"", "text", "json"}:
        raise Unusable("--output-format is text or json")
    plan = Plan(
        options=options,
        workspace=_workspace(args.workspace),
        mode=args.approve or _mode(options, headless=headless),
        policy=Policy(tuple(args.allow_command), (*DENIED, *args.deny_command)),
        headless=headless,
        mcp_config=args.mcp_config,
        trust=_trust(settings),
        patience=Patience(outage_s=args.patience),
    )
    _check_id(options.workflow_id)
    _check_goal(plan, interactive=sys.stdin.isatty())
    token = args.token or given.get(TOKEN, "")
    if args.url.startswith(("http://", "https://")):
        url = args.url.rstrip("/")
        chosen = replace(options, base_url=url, auth_token=token or options.auth_token)
        plan = replace(plan, options=replace(chosen, connection_type="websocket"))
    elif args.url or not (over_relay(options) or options.service_server):
        address = address_of(args.url or _own_url(settings))
        plan = replace(plan, address=address, token=_token(address, token, settings))
    _dial(plan, "1")
    return plan


async def _run(plan: Plan, screen: Screen, given: Mapping[str, str]) -> tuple[Exit, Session, Task]:
    task = await _task(plan, screen)
    screen.notice(f"Session {task.workflow_id} on {plan.workspace.root}")
    screen.notice(f"To go on with it later: --workflow-id {task.workflow_id}")

    def report(action: str, bug: Exception) -> None:
        screen.notice(f"Bug in {action}: {type(bug).__name__}")

    async with _servers(plan, scrubbed(given)) as (announced, tools):
        machine = _machine(plan, task.workflow_id, given, tools)
        kinds = await asyncio.to_thread(load_actions, actions)
        hands = Hands(Answerer(kinds, machine, report), Approver(plan.mode, screen))
        session = Session(_dial(plan, task.workflow_id), hands, screen, patience=plan.patience)
        task = replace(task, goal=machine.mask.plain(task.goal), tools=announced)
        stop = asyncio.Event()
        code = await _interruptible(session, task, stop)
        while _talks(plan, session, code):
            words = await screen.ask("> ")
            if not words:
                break
            task = replace(task, goal=machine.mask.plain(words), context=(), decision=None)
            code = await _interruptible(session, task, stop)
        return code, session, task


def _talks(plan: Plan, session: Session, code: Exit) -> bool:
    """Whether a conversation goes on: one that began without a goal on the command line."""
    return code is Exit.DONE and session.waits and not plan.headless and not plan.options.goal


async def _interruptible(session: Session, task: Task, stop: asyncio.Event) -> Exit:
    """Run; the first interrupt stops the session in order, the second leaves at once."""
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


async def _task(plan: Plan, screen: Screen) -> Task:
    """What is to be done; a session that has no record yet gets one where records are kept."""
    options = plan.options
    goal = options.goal
    if not goal.strip() and not options.workflow_id:
        goal = await screen.ask("What is to be done? ") or ""
        if not goal:
            raise Unusable("--goal is needed for a new session")
    about = {"platform": sys.platform, "architecture": platform.machine()}
    system = AdditionalContext(
        category="os_information", content=msgspec.json.encode(about).decode()
    )
    return Task(
        workflow_id=options.workflow_id or await _new_id(plan, goal),
        goal=goal,
        definition=options.definition or "chat",
        flow=Flow(
            flow_config_of(options.flow_config),
            options.flow_config_id,
            options.flow_config_schema_version,
            options.flow_version,
        ),
        metadata=options.metadata or "{}",
        context=(system, *context_of(options.context)),
        decision=decision_of(options.approval, options.rejection_reason),
    )


async def _new_id(plan: Plan, goal: str) -> str:
    options = plan.options
    if plan.address is not None or not over_relay(options):
        return str(1 + secrets.randbelow(LARGEST_ID))
    asked = {
        "goal": goal,
        "workflow_definition": options.definition or "chat",
        "environment": "ide",
        "project_id": options.project_path or options.project_id or None,
        "namespace_id": options.namespace_id or None,
        "allow_agent_to_request_user": not plan.headless,
    }
    fields = {name: value for name, value in asked.items() if value is not None}
    client = InstanceClient(options.base_url, options.auth_token, trust=plan.trust)
    return await client.register(fields)


def _machine(
    plan: Plan, workflow_id: str, given: Mapping[str, str], tools: Tools | None
) -> Machine:
    options = plan.options
    clean = scrubbed(given)
    asks = bool(options.base_url and options.auth_token)
    lent = Lent(
        git_login(options, given),
        trailers(options, workflow_id),
        InstanceClient(options.base_url, options.auth_token, workflow_id, plan.trust)
        if asks
        else None,
        tools,
    )
    mask = Mask((*options.secrets, plan.token, *secret_values(given)))
    git = Git(plan.workspace, clean)
    return Machine(plan.workspace, git, clean, plan.policy, mask, lent=lent)


@asynccontextmanager
async def _servers(
    plan: Plan, environment: Mapping[str, str]
) -> AsyncIterator[tuple[tuple[McpTool, ...], Tools | None]]:
    """MCP servers. Their library takes a second to load: only where there are any."""
    if plan.mcp_config is None:
        yield (), None
        return
    servers = await asyncio.to_thread(importlib.import_module, "isthmus.executor.mcp_servers")
    async with servers.open_servers(plan.mcp_config, environment, plan.trust) as opened:
        yield opened.announced, opened


def _dial(plan: Plan, workflow_id: str) -> Dial:
    if plan.address is None:
        return (
            relay(plan.options, workflow_id, plan.trust)
            if over_relay(plan.options)
            else dial(plan.options, workflow_id, plan.trust)
        )
    headers = platform_headers(plan.token, plan.options)
    return Access(plan.address, tuple(headers.items()), plan.token, trust=plan.trust)


def _trust(settings: Settings) -> Trust:
    """The operator's authorities and certificate, for every call; else each library's own."""
    limits = settings.outbound
    return Trust(identified(limits), papers(limits)) if customised(limits) else OWN


def _mode(options: Wanted, *, headless: bool) -> Mode:
    if not headless:
        return "ask"
    return "all" if is_on(options.auto_approve, default=True) else "later"


def _own_url(settings: Settings) -> str:
    scheme = "grpcs" if settings.grpc.tls.enabled else "grpc"
    return f"{scheme}://127.0.0.1:{settings.grpc.port}"


def _check_goal(plan: Plan, *, interactive: bool) -> None:
    """A new session needs a goal; one that goes on may have another one."""
    options = plan.options
    asks = interactive and not plan.headless
    if not options.goal.strip() and not options.workflow_id and (options.goal or not asks):
        raise Unusable("--goal is needed for a new session")


def _check_id(workflow_id: str) -> None:
    if workflow_id and not (workflow_id.isascii() and workflow_id.isdecimal()):
        raise Unusable("--workflow-id must be a decimal number")
    if workflow_id and not 0 < int(workflow_id[:20]) <= LARGEST_ID:
        raise Unusable(f"--workflow-id must be from 1 to {LARGEST_ID}")


def _workspace(directory: Path) -> Workspace:
    try:
        return Workspace(directory)
    except OSError as error:
        raise Unusable(f"--workspace: {error.strerror}: {directory}") from error


def _token(address: Address, token: str, settings: Settings) -> str:
    token = token or _minted(address, settings)
    if not token.isascii() or any(char.isspace() for char in token):
        raise Unusable("--token must be one word of ASCII text")
    return token


def _minted(address: Address, settings: Settings) -> str:
    if not address.local:
        raise Unusable(f"a server elsewhere needs a token: --token, or {TOKEN}")
    if not has_key(settings):
        ways = "run this where the server was started, set ISTHMUS_DATA_DIR, or give --token"
        raise Unusable(f"no signing key is in {settings.data_dir.absolute()}: {ways}")
    try:
        return mint(settings, SUBJECT, SCOPES, TOKEN_TTL_S)
    except (ValueError, OSError, CannotSign) as error:
        raise Unusable(f"no development token could be made: {error}") from error

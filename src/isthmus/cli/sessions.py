"""`isthmus sessions`: sessions of this server, whosever they are, as their database has them."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final, TextIO
from uuid import uuid4

from isthmus.app.foundation import SystemClock, open_foundation
from isthmus.app.instance import open_surroundings, use_cases
from isthmus.app.runners import open_runner
from isthmus.cli._desk import Desk, Row, Subparsers, actions
from isthmus.core.accounts import FLOW_SCOPES, Member, Token, TokenKind, User
from isthmus.core.errors import Invalid, NotFound, Rejected
from isthmus.core.workflow import Status, StatusEvent, Workflow, WorkflowQuery
from isthmus.instance.flags import Flags
from isthmus.instance.launch import stop
from isthmus.instance.places import Places
from isthmus.instance.workflows import Workflows
from isthmus.platform.entries import Entry
from isthmus.platform.owner import Shared
from isthmus.platform.prune import Pruned, Pruning
from isthmus.platform.recorded import Recorded

LIST_LIMIT: Final = 10_000
DAYS_LIMIT: Final = 36_500
LOOK_S: Final = 0.5
OVER: Final = frozenset({Status.FINISHED, Status.FAILED, Status.STOPPED})
_GOAL_CHARS: Final = 60
_HEADINGS: Final = ("ID", "STATUS", "FLOW", "USER", "UPDATED", "GOAL")


def add(subparsers: Subparsers) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    made = actions(
        subparsers,
        "sessions",
        "list, show, follow, stop, resume, prune and export sessions",
        {
            "list": ("print a table of sessions, the newest first", _list),
            "show": ("tell what is known of a session", _show),
            "tail": ("print its chat as it is stored, until it is over", _tail),
            "stop": ("stop it, wherever it runs", _stop),
            "resume": ("have the runner go on with it", _resume),
            "prune": ("forget steps that nobody can go back to", _prune),
            "export": ("write every stored step as a line of JSON", _export),
        },
    )
    for action in ("show", "tail", "stop", "resume", "export"):
        made[action].add_argument("id", metavar="ID", help="the session's number")
    for action in ("list", "show"):
        made[action].add_argument("--json", action="store_true", help="for programs")
    listing, resuming, exporting = made["list"], made["resume"], made["export"]
    listing.add_argument("--status", choices=[each.value for each in Status], metavar="S")
    listing.add_argument("--user", default="", metavar="NAME", help="only this user's")
    listing.add_argument(
        "--limit", type=int, default=20, metavar="N", help=f"at most N (20; up to {LIST_LIMIT:,})"
    )
    word = resuming.add_mutually_exclusive_group()
    word.add_argument("--approve", action="store_true", help="run the tool calls that wait")
    word.add_argument("--reject", action="store_true", help="do not run them")
    resuming.add_argument("--message", default="", metavar="TEXT", help="words for the agent")
    pruning = made["prune"]
    pruning.add_argument("ids", nargs="*", metavar="ID", help="these sessions")
    pruning.add_argument(
        "--older-than", type=int, metavar="DAYS", help="all that nothing has touched for so long"
    )
    pruning.add_argument("--dry-run", action="store_true", help="only tell what would go")
    exporting.add_argument("--output", default="-", metavar="FILE", help="a new file (-: stdout)")
    exporting.add_argument(
        "--full", action="store_true", help="with all values at each step, and not the changes"
    )


async def _list(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    if not 1 <= args.limit <= LIST_LIMIT:
        raise Rejected(f"--limit must be from 1 to {LIST_LIMIT:,}")
    names = {user.global_id: user.username for user in await desk.stores.users.all()}
    query = WorkflowQuery(statuses=(Status(args.status),) if args.status else (), limit=args.limit)
    found: list[Workflow] = []
    for owner in _owners(args.user, names):
        found += await _pages(desk, replace(query, owner=owner), args.limit)
    found.sort(key=lambda one: one.created_at, reverse=True)
    found = found[: args.limit]
    if args.user and not found and args.user not in names.values():
        raise Rejected(f"there is no user {args.user[:100]!r}, and no session of one")
    if args.json:
        _write(json.dumps([_told(one, names) for one in found]) + "\n")
        return []
    rows = [_row(_told(one, names)) for one in found]
    return [_HEADINGS, *rows]


async def _pages(desk: Desk, query: WorkflowQuery, limit: int) -> Sequence[Workflow]:
    found: list[Workflow] = []
    while True:
        page = await desk.stores.workflows.page(query)
        found += page.items
        if not page.more or len(found) >= limit:
            return found
        query = replace(query, after_id=page.items[-1].workflow_id)


async def _show(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    workflow = await _found(desk, args.id)
    names = {user.global_id: user.username for user in await desk.stores.users.all()}
    recorded = _recorded(desk)
    log = await recorded.log(workflow.workflow_id)
    last = log.entries[-1].get("content") if log is not None and log.entries else ""
    told = _told(workflow, names) | {
        "created": workflow.created_at.isoformat(),
        "project": workflow.project_id,
        "title": workflow.title,
        "model": workflow.model,
        "deployment": workflow.deployment,
        "runs_by_job": bool(workflow.job),
        "steps": await recorded.count(workflow.workflow_id),
        "said_last": last,
    }
    if args.json:
        _write(json.dumps(told) + "\n")
        return []
    return [(name, _plain(str(value))) for name, value in told.items() if value not in ("", None)]


async def _tail(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    workflow = await _found(desk, args.id)
    recorded, seen, known_id = _recorded(desk), dict[str, Entry](), ""
    while True:
        # The record first: what is stored before it is over is shown after it.
        over = workflow.status in OVER
        log = await recorded.log(workflow.workflow_id, known_id)
        if log is not None:
            known_id = log.checkpoint_id
            for place, entry in enumerate(log.entries):
                key = str(entry.get("message_id") or place)
                if seen.get(key) != entry:
                    seen[key] = entry
                    _write(_line(entry))
        if over:
            return [(f"Session {workflow.workflow_id} is {workflow.status}.",)]
        await asyncio.sleep(LOOK_S)
        workflow = await _found(desk, args.id)


async def _stop(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    stores, settings = desk.stores, desk.settings
    places = Places(stores.places, register=settings.instance.registers)
    workflows = Workflows(stores.workflows, places, Flags(stores.flags), SystemClock())
    async with open_runner(settings, SystemClock()) as runner:
        moved = await workflows.moved(await _found(desk, args.id), StatusEvent.STOP)
        await stop(runner, moved.workflow)
    number = moved.workflow.workflow_id
    told = "is stopped" if moved.changed else "was stopped already"
    return [(f"Session {number} {told}.",)]


async def _resume(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    workflow = await _found(desk, args.id)
    number = workflow.workflow_id
    if desk.settings.runners.kind == "none":
        raise Rejected(
            f"no runner is set (`runners.kind`), so its client goes on with session {number}; on "
            f"this machine: isthmus executor --workflow-id {number} --goal TEXT"
        )
    approved = _word(workflow, args)
    try:
        user = await desk.stores.users.find(global_id=workflow.owner)
    except NotFound:
        reason = f"session {number} belongs to nobody with an account here: its client resumes it"
        raise Rejected(reason) from None
    quiet = desk.settings.logging.model_copy(update={"level": "ERROR"})
    settings = desk.settings.model_copy(update={"logging": quiet})
    async with AsyncExitStack() as stack:
        foundation = await stack.enter_async_context(open_foundation(settings))
        around = await stack.enter_async_context(open_surroundings(foundation))
        runs = use_cases(desk.stores, around).runs
        await runs.resume(_member(user), number, approved=approved, message=args.message)
    return [(f"Session {number} goes on.",)]


async def _export(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    workflow = await _found(desk, args.id)
    out = sys.stdout if args.output == "-" else _opened(Path(args.output))
    count = 0
    try:
        async with aclosing(_recorded(desk).steps(workflow.workflow_id, full=args.full)) as steps:
            async for step in steps:
                _write(json.dumps(step, separators=(",", ":")) + "\n", out)
                count += 1
    finally:
        if out is not sys.stdout:
            out.close()
    return [] if out is sys.stdout else [(f"Wrote {count:,} steps to {args.output}.",)]


def _word(workflow: Workflow, args: argparse.Namespace) -> bool | None:
    """The decision that a session waits for; None where it waits for none. Raises Rejected."""
    number, status = workflow.workflow_id, workflow.status
    if status in {Status.CREATED, Status.RUNNING, Status.FINISHED}:
        raise Rejected(f"session {number} is {status}: there is nothing to go on with")
    decides = status in {Status.TOOL_CALL_APPROVAL_REQUIRED, Status.PLAN_APPROVAL_REQUIRED}
    if decides != (args.approve or args.reject):
        need = "waits for --approve or --reject" if decides else "waits for no approval"
        raise Rejected(f"session {number} {need}")
    if status is Status.INPUT_REQUIRED and not args.message.strip():
        raise Rejected(f"session {number} waits for words: --message TEXT")
    return args.approve if decides else None


async def _prune(args: argparse.Namespace, desk: Desk) -> Sequence[Row]:
    if bool(args.ids) == (args.older_than is not None):
        raise Rejected("give sessions, or --older-than DAYS")
    if args.older_than is not None and not 0 <= args.older_than <= DAYS_LIMIT:
        raise Rejected(f"--older-than must be from 0 to {DAYS_LIMIT:,} days")
    stores = desk.stores
    shared = Shared(stores.leases, stores.ledger, stores.workflows)
    pruning = Pruning(shared, stores.checkpoints, str(uuid4()))
    found: list[Pruned] = []
    for workflow_id in args.ids:
        workflow = await _found(desk, workflow_id)
        found.append(await pruning.one(workflow.workflow_id, dry=args.dry_run))
    if args.older_than is not None:
        before = SystemClock().utc() - timedelta(days=args.older_than)
        async with aclosing(pruning.idle(before, dry=args.dry_run)) as idle:
            found += [one async for one in idle if one.steps]
    steps, would = sum(one.steps for one in found), "would go" if args.dry_run else "are gone"
    told = [(f"Session {one.workflow_id}: {one.steps:,} steps {would}.",) for one in found]
    return [*told, (f"{len(found):,} sessions, {steps:,} steps.",)]


async def _found(desk: Desk, workflow_id: str) -> Workflow:
    try:
        return await desk.stores.workflows.get(workflow_id)
    except (NotFound, Invalid):
        raise Rejected(f"there is no session {workflow_id[:100]!r}") from None


def _recorded(desk: Desk) -> Recorded:
    return Recorded(desk.stores.checkpoints, desk.stores.records)


def _member(user: User) -> Member:
    """The owner, whom the operator acts for; there is no token behind it."""
    now = SystemClock().utc()
    kept = Token(0, TokenKind.FLOW, user.id, FLOW_SCOPES, "", "", now, None, None, {})
    return Member(user, kept)


def _owners(name: str, names: Mapping[str, str]) -> Sequence[str | None]:
    """How records may name a user: of an account, or of a client that needs none; None: anybody."""
    return [name, *(owner for owner, known in names.items() if known == name)] if name else [None]


def _told(workflow: Workflow, names: Mapping[str, str]) -> dict[str, object]:
    return {
        "id": workflow.workflow_id,
        "status": workflow.status.value,
        "flow": workflow.definition,
        "user": names.get(workflow.owner, workflow.owner),
        "updated": workflow.updated_at.isoformat(),
        "goal": workflow.goal,
    }


def _row(told: Mapping[str, object]) -> Row:
    return [_plain(str(value))[:_GOAL_CHARS] for value in told.values()]


def _line(entry: Entry) -> str:
    """An entry of the log; its first line says when, and who."""
    at, kind = str(entry.get("timestamp") or "")[11:19], str(entry.get("message_type") or "")
    status = str(entry.get("status") or "")
    mark = f" ({status})" if status not in ("", "success") else ""
    words = [_plain(line) for line in str(entry.get("content") or "").splitlines()]
    return f"{_plain(at)} {_plain(kind)}{_plain(mark)}: " + "\n    ".join(words) + "\n"


def _plain(text: str) -> str:
    """Text that moves no terminal's cursor."""
    return "".join(char if char.isprintable() else " " for char in text)


def _opened(path: Path) -> TextIO:
    """A new file, for whoever exports alone: it holds what users and models said."""
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Rejected(f"--output {path}: {error.strerror}") from error
    return os.fdopen(made, "w", encoding="utf-8")


def _write(text: str, out: TextIO | None = None) -> None:
    """Write at once. Who reads no more, such as `head`, ends the command quietly."""
    to = out or sys.stdout
    try:
        to.write(text)
        to.flush()
    except BrokenPipeError:
        # Python would complain when it flushes what is left.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as error:
        raise Rejected(f"it cannot be written: {error.strerror}") from error

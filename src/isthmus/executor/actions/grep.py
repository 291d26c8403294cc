"""grep: lines that match a pattern, as `path:line:text`."""

import asyncio

from isthmus.contract.contract_pb2 import Grep
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import ActionKind, Machine
from isthmus.executor.process import Finished

LINES = 1000
LINE_CHARS = 500
FILE_BYTES = 1024 * 1024
PATTERN_LIMIT = 2000
NOTHING = "No matches found."


async def run(message: Grep, machine: Machine) -> str:
    """Search below a directory (the workspace by default). The pattern is an extended regular
    expression, or plain text when it is not a valid one.
    """
    if not message.pattern or len(message.pattern) > PATTERN_LIMIT:
        raise ToolRefused(f"a search pattern has 1 to {PATTERN_LIMIT} characters")
    if "\0" in message.pattern or "\n" in message.pattern:
        raise ToolRefused("a search pattern is one line of text")
    await asyncio.to_thread(machine.workspace.holds_directory, message.search_directory)
    if not machine.git.installed:
        return await asyncio.to_thread(_plain_search, message, machine)
    found = await _searched(message, machine)
    if found is None:
        raise ToolRefused("the search took too long; narrow it")
    return await asyncio.to_thread(_shown, found.output, machine)


async def _searched(message: Grep, machine: Machine) -> Finished | None:
    """Git searches: it knows what is ignored, and a slow expression can be killed with it."""
    below = "/".join(machine.workspace.parts(message.search_directory))
    case = ["-i"] if message.case_insensitive else []
    where = ["--", f":(literal){below}"] if below else ["--", "."]
    for scope in (["--untracked"], ["--no-index", "--exclude-standard"]):
        for kind in ("-E", "-F"):
            ask = ["grep", *scope, "-I", "-n", "-z", "--no-color", *case, kind, "-e"]
            found = await machine.git.ask(*ask, message.pattern, *where)
            if found is None or found.code in {0, 1}:
                return found
    raise ToolRefused("git could not search this directory")


def _plain_search(message: Grep, machine: Machine) -> str:
    """Without git: lines that hold the pattern as plain text."""
    below = "".join(f"{part}/" for part in machine.workspace.parts(message.search_directory))
    fold = str.casefold if message.case_insensitive else str
    wanted = fold(message.pattern)
    shown: list[str] = []
    for path in machine.workspace.walk():
        if not path.startswith(below) or not machine.workspace.holds_file(path):
            continue
        try:
            text = machine.workspace.read(path, FILE_BYTES).decode("utf-8")
        except (ToolRefused, UnicodeDecodeError):
            continue
        for number, line in enumerate(text.split("\n"), 1):
            if wanted in fold(line):
                shown.append(f"{path}:{number}:{line[:LINE_CHARS]}")
        if len(shown) > LINES:
            break
    return "\n".join(shown[:LINES]) or NOTHING


def _shown(output: bytes, machine: Machine) -> str:
    """Matches in files that may be read; every other one is dropped, whatever git thinks."""
    readable: dict[str, bool] = {}
    shown: list[str] = []
    for line in output.split(b"\n"):
        path, number, text = _taken(line)
        if path not in readable:
            readable[path] = bool(path) and machine.workspace.holds_file(path)
        if not readable[path]:
            continue
        if len(shown) == LINES:
            shown.append(f"(only the first {LINES} matches; narrow the search)")
            break
        shown.append(f"{path}:{number}:{text[:LINE_CHARS]}")
    return "\n".join(shown) or NOTHING


def _taken(line: bytes) -> tuple[str, str, str]:
    path, _, rest = line.partition(b"\0")
    number, _, text = rest.partition(b"\0")
    return (
        path.decode("utf-8", "replace"),
        number.decode("ascii", "replace"),
        text.decode("utf-8", "replace").rstrip("\r"),
    )


ACTION = ActionKind(field="grep", effect="read", run=run)

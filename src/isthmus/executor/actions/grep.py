"""grep: lines that hold one of several terms, with what stands around them."""

import asyncio
from collections.abc import Sequence
from itertools import groupby

from isthmus.contract.contract_pb2 import Grep
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import ActionKind, Machine
from isthmus.executor.process import Finished
from isthmus.executor.snippets import HITS_A_FILE, shown

FILES = 5000
FILE_BYTES = 1024 * 1024
PATTERN_LIMIT = 2000


async def run(message: Grep, machine: Machine) -> str:
    """Search below a directory (the workspace by default).

    The pattern is a list of terms between commas; each is an extended regular expression, or all
    are plain text when one of them is no valid expression.
    """
    if not message.pattern or len(message.pattern) > PATTERN_LIMIT:
        raise ToolRefused(f"a search pattern has 1 to {PATTERN_LIMIT} characters")
    if "\0" in message.pattern or "\n" in message.pattern:
        raise ToolRefused("a search pattern is one line of text")
    terms = [term.strip() for term in message.pattern.split(",") if term.strip()]
    if not terms:
        raise ToolRefused("a search pattern holds at least one term")
    await asyncio.to_thread(machine.workspace.holds_directory, message.search_directory)
    if not machine.git.installed:
        hits = await asyncio.to_thread(_plain_hits, message, terms, machine)
    else:
        found = await _searched(message, terms, machine)
        if found is None:
            raise ToolRefused("the search took too long; narrow it")
        hits = await asyncio.to_thread(_hits, found.output, machine)
    return await asyncio.to_thread(shown, hits, lambda path: _lines(path, machine))


async def _searched(message: Grep, terms: Sequence[str], machine: Machine) -> Finished | None:
    """Git searches: it knows what is ignored, and a slow expression can be killed with it."""
    below = "/".join(machine.workspace.parts(message.search_directory))
    case = ["-i"] if message.case_insensitive else []
    wanted = [word for term in terms for word in ("-e", term)]
    where = ["--", f":(literal){below}"] if below else ["--", "."]
    for scope in (["--untracked"], ["--no-index", "--exclude-standard"]):
        for kind in ("-E", "-F"):
            ask = ["grep", *scope, "-I", "-n", "-z", "--no-color", *case, kind, *wanted]
            found = await machine.git.ask(*ask, *where)
            if found is None or found.code in {0, 1}:
                return found
    raise ToolRefused("git could not search this directory")


def _hits(output: bytes, machine: Machine) -> dict[str, list[int]]:
    """Hits in files that may be read; every other one is dropped, whatever git thinks."""
    hits: dict[str, list[int]] = {}
    pairs = (line.split(b"\0", 2) for line in output.split(b"\n"))
    named = (parts for parts in pairs if len(parts) == 3 and parts[1].isdigit())
    for name, group in groupby(named, key=lambda parts: parts[0]):
        path = name.decode("utf-8", "replace")
        if path not in hits and machine.workspace.holds_file(path):
            numbers = [
                int(parts[1][:9]) for parts, _ in zip(group, range(HITS_A_FILE), strict=False)
            ]
            hits[path] = numbers
            if len(hits) == FILES:
                break
    return hits


def _plain_hits(message: Grep, terms: Sequence[str], machine: Machine) -> dict[str, list[int]]:
    """Without git: lines that hold a term as plain text."""
    below = "".join(f"{part}/" for part in machine.workspace.parts(message.search_directory))
    fold = str.casefold if message.case_insensitive else str
    wanted = [fold(term) for term in terms]
    hits: dict[str, list[int]] = {}
    for path in machine.workspace.walk():
        if len(hits) == FILES:
            break
        if path.startswith(below) and machine.workspace.holds_file(path):
            lines = enumerate(map(fold, _lines(path, machine, FILE_BYTES)), 1)
            found = [number for number, line in lines if any(term in line for term in wanted)]
            if found:
                hits[path] = found
    return hits


def _lines(path: str, machine: Machine, limit_bytes: int | None = None) -> list[str]:
    """A file's lines; none when it cannot be read as text."""
    try:
        data = machine.workspace.read(path, *((limit_bytes,) if limit_bytes else ()))
        text = data.decode("utf-8", "strict" if limit_bytes else "replace")
    except (ToolRefused, UnicodeDecodeError):
        return []
    return text.removesuffix("\n").split("\n")


ACTION = ActionKind(field="grep", effect="read", run=run)

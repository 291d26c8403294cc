"""The `isthmus` command: finds the subcommand, loads the settings, turns failures into exits."""

import argparse
import gc
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import cast

import isthmus
from isthmus.settings import Settings, SettingsError, load

SINCE_S = time.monotonic()
"""About when the process started: this is the first module of ours that runs."""

COMMANDS = {
    "server": "run the server",
    "health": "tell whether the server here answers",
    "token": "print a development token",
    "executor": "run a session on this machine",
    "config": "check or show the settings",
    "prompts": "list, check or render the prompts",
    "flows": "list, check or draw flows",
    "docs": "index and search documentation",
    "db": "migrate, check, back up or restore the database",
    "users": "list and change accounts",
    "projects": "list projects, and say who belongs to them",
    "tokens": "make, list and revoke personal access tokens",
    "sessions": "list, show, follow, stop, resume, prune and export sessions",
    "usage": "tell what was used, and what it cost",
    "flags": "list and set feature flags",
    "doctor": "find what is wrong, and how it is mended",
    "keys": "make, change and show the keys that sign tokens",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand. Exit codes: 0 done, 2 wrong usage or settings, others by the command."""
    code = _ran(argv)
    if argv is None:
        # The process ends: all its memory goes at once. The interpreter's last collection would be
        # for nothing, and on Python 3.13 it crashes now and then in msgspec 0.22 (TypeNode_Free).
        gc.freeze()
    return code


def _ran(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(words)
    args = parser.parse_args(words)
    run = cast("Callable[[argparse.Namespace, Settings], int] | None", getattr(args, "run", None))
    if run is None:
        parser.print_help()
        return 2
    args.since_s = SINCE_S
    try:
        flags = {"transports": getattr(args, "transports", None)}
        return run(args, load(getattr(args, "config", None), flags))
    except SettingsError as error:
        refused = cast(
            "Callable[[argparse.Namespace, SettingsError], int] | None",
            getattr(args, "refused", None),
        )
        if refused is not None:
            return refused(args, error)
        sys.stderr.write("".join(f"isthmus: {fault}\n" for fault in error.faults))
        return 2
    except KeyboardInterrupt:
        return 130


def _parser(words: list[str]) -> argparse.ArgumentParser:
    """Only the chosen command's module is loaded: some of them need an extra, or time."""
    parser = argparse.ArgumentParser(prog="isthmus", description=isthmus.__doc__)
    parser.add_argument("--version", action="version", version=isthmus.__version__)
    subparsers = parser.add_subparsers(metavar="COMMAND")
    chosen = next((word for word in words if not word.startswith("-")), "")
    for name, text in COMMANDS.items():
        if name == chosen:
            importlib.import_module(f"isthmus.cli.{name}").add(subparsers)
        else:
            subparsers.add_parser(name, help=text)
    return parser

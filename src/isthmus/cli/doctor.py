"""`isthmus doctor`: what is wrong with this set-up, and how it is mended."""

import argparse
import asyncio
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

from isthmus.settings import Settings, SettingsError, environment, read

LIMIT_S: Final = 15.0
LEAST_S: Final = 2.0
WRONG: Final = 2
NAME: Final = "doctor"
THREADS: Final = 64
PATIENCE_S: Final = 0.5
SCHEMES: Final = frozenset({"http", "https", "grpc", "grpcs"})
_EPILOG: Final = (
    "Exit codes: 0 healthy, 1 warnings, 2 wrong usage or settings that cannot be read, 3 faults."
)


def add(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",  # pyright: ignore[reportPrivateUsage] - argparse has no public name for it
) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    parser = subparsers.add_parser(
        "doctor",
        help="find what is wrong",
        epilog=_EPILOG,
        description=(
            "Look at everything that this server needs, and tell what is wrong and how it is "
            "mended. Works while the server runs and while it is stopped; changes nothing. A call "
            "of each model that is set costs at most one token of output."
        ),
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (YAML)")
    token = parser.add_mutually_exclusive_group()
    token.add_argument("--token", metavar="T", help="say whether this token would be accepted")
    token.add_argument(
        "--token-file", type=Path, metavar="FILE", help="the same, from a file; - is stdin"
    )
    parser.add_argument(
        "--via",
        action="append",
        default=[],
        metavar="URL",
        help="look through the proxy in front, such as https://ai.example or grpcs://ai.example:8443",
    )
    parser.add_argument(
        "--timeout", type=float, default=LIMIT_S, metavar="SECONDS", help="limit of the whole run"
    )
    parser.set_defaults(run=run, refused=refused)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the report. Returns 0, 1 or 3 by the worst finding, 2 for wrong usage."""
    since_s = cast("float", getattr(args, "since_s", time.monotonic()))
    wrong = _wrong(args)
    if wrong:
        sys.stderr.write(f"isthmus doctor: {wrong}\n")
        return WRONG
    try:
        token = _token(args)
    except (OSError, UnicodeDecodeError):
        sys.stderr.write("isthmus doctor: --token-file cannot be read\n")
        return WRONG
    from isthmus.doctor.case import Asked  # noqa: PLC0415 - what is wrong is told first
    from isthmus.doctor.report import as_json, as_text, report, secrets_of  # noqa: PLC0415
    from isthmus.doctor.run import examine  # noqa: PLC0415

    _, sources = read(args.config)
    asked = Asked(token, tuple(args.via))
    left_s = args.timeout - (time.monotonic() - since_s)
    # Name servers that do not answer hold threads: there are enough for everybody else.
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix=NAME)
    loop = asyncio.new_event_loop()
    loop.set_default_executor(pool)
    found = loop.run_until_complete(examine(settings, sources, environment(), asked, left_s))
    loop.close()
    secrets = {*secrets_of(settings), token}
    told = report(found, time.monotonic() - since_s, secrets)
    sys.stdout.write(as_json(told) if args.json else as_text(told))
    return _leave(_code(told.verdict))


def refused(args: argparse.Namespace, error: SettingsError) -> int:
    """The report when the settings cannot be read: their faults are all that can be told."""
    from isthmus.doctor.finding import Subject  # noqa: PLC0415
    from isthmus.doctor.report import as_json, as_text, report  # noqa: PLC0415

    findings = [
        Subject("settings", "the settings").fail(
            cause or fault, path if cause else "", "correct it; isthmus config check"
        )
        for fault in error.faults
        for path, _, cause in [fault.partition(": ")]
    ]
    told = report(findings, 0.0)
    sys.stdout.write(as_json(told) if args.json else as_text(told))
    return WRONG


def _code(verdict: str) -> int:
    from isthmus.doctor.report import EXIT  # noqa: PLC0415

    return next(code for name, code in EXIT.items() if name == verdict)


def _leave(code: int) -> int:
    """The exit code; where a thread is held, for which the interpreter would wait, ends at once."""
    until_s = time.monotonic() + PATIENCE_S
    held = [thread for thread in threading.enumerate() if thread.name.startswith(NAME)]
    for thread in held:
        thread.join(max(until_s - time.monotonic(), 0.0))
    if any(thread.is_alive() for thread in held):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _wrong(args: argparse.Namespace) -> str:
    if args.timeout < LEAST_S:
        return f"--timeout must be at least {LEAST_S:.0f} seconds"
    for url in cast("list[str]", args.via):
        try:
            parts = urlsplit(url)
            sound = parts.scheme in SCHEMES and parts.hostname and parts.port != 0
        except ValueError:
            sound = False
        if not sound or "@" in url:
            return "--via must be an http, https, grpc or grpcs URL, without a password"
    return ""


def _token(args: argparse.Namespace) -> str:
    if args.token_file is None:
        return str(args.token or "").strip()
    if str(args.token_file) == "-":
        return sys.stdin.read(64 * 1024).strip()
    return cast("Path", args.token_file).read_text(encoding="ascii").strip()

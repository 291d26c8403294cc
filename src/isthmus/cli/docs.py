"""`isthmus docs`: builds the index of documentation that the server searches, and asks it."""

import argparse
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from isthmus.adapters.search.build import build
from isthmus.adapters.search.sqlite import ask, index_file
from isthmus.adapters.search.terms import expression
from isthmus.core.errors import Unavailable
from isthmus.settings import Settings

SHOWN_CHARS = 300
SKIPPED_SHOWN = 10


def add(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",  # pyright: ignore[reportPrivateUsage] - argparse has no public name for it
) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    parser = subparsers.add_parser("docs", help="index and search documentation")
    parser.set_defaults(run=_usage(parser))
    actions = parser.add_subparsers(metavar="ACTION")
    index = actions.add_parser(
        "index",
        help="index the Markdown files of a folder",
        description="Index every Markdown file below DIR. A running server uses it at once.",
    )
    index.add_argument("folder", type=Path, metavar="DIR")
    index.add_argument("--base-url", default="", metavar="URL", help="address of DIR, for links")
    index.set_defaults(run=run_index)
    search = actions.add_parser("search", help="print the passages that answer a question")
    search.add_argument("query", nargs="+", metavar="QUERY")
    search.add_argument("--limit", type=int, default=4, metavar="N", help="passages (default 4)")
    search.set_defaults(run=run_search)
    for each in (index, search):
        each.add_argument("--index", type=Path, metavar="FILE", help="default: `search.index`")


def run_index(args: argparse.Namespace, settings: Settings) -> int:
    """Build the index and print counts. Returns 0, 1 when it cannot be written, or 2."""
    folder: Path = args.folder
    index = _index(args, settings)
    if not folder.is_dir():
        return _refuse(2, f"{folder} is not a folder")
    if args.base_url and urlsplit(args.base_url).scheme not in {"http", "https"}:
        return _refuse(2, "--base-url must begin with http:// or https://")
    try:
        built = build(folder, index, args.base_url)
    except (OSError, sqlite3.Error) as error:
        return _refuse(1, f"{index} cannot be written: {error}")
    for source in built.skipped[:SKIPPED_SHOWN]:
        sys.stderr.write(f"isthmus docs: skipped {source}: too large, or cannot be read\n")
    sys.stdout.write(
        f"{built.files} files, {built.passages} passages, {len(built.skipped)} skipped: {index}\n"
    )
    return 0


def run_search(args: argparse.Namespace, settings: Settings) -> int:
    """Print the passages. Returns 0, 1 when there are none, or 2."""
    index = _index(args, settings)
    if not index.is_file():
        return _refuse(2, f"there is no index at {index}; `isthmus docs index DIR` builds it")
    wanted = expression(" ".join(args.query))
    try:
        found = ask(index, wanted, max(1, args.limit)) if wanted else ()
    except Unavailable as error:
        return _refuse(2, f"{index}: {error.detail}")
    for passage in found:
        place = passage.metadata.get("source_url") or passage.metadata.get("source", "")
        text = " ".join(passage.content.split())[:SHOWN_CHARS]
        sys.stdout.write(f"{passage.metadata.get('title', '')} ({place})\n  {text}\n\n")
    return 0 if found else _refuse(1, "nothing was found")


def _index(args: argparse.Namespace, settings: Settings) -> Path:
    index: Path | None = args.index
    return index or index_file(settings.search, settings.data_dir)


def _usage(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace, Settings], int]:
    def run(args: argparse.Namespace, settings: Settings) -> int:
        del args, settings
        parser.print_help()
        return 2

    return run


def _refuse(code: int, reason: str) -> int:
    sys.stderr.write(f"isthmus docs: {reason}\n")
    return code

"""`isthmus flows list | check | graph`: the flows of this server, and files of one's own."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec

from isthmus.app.library import LIBRARY
from isthmus.core.errors import Invalid
from isthmus.platform.catalogue import Catalogue, Entry, load, read_schemas
from isthmus.platform.flow import Flow
from isthmus.platform.flow_check import faults, parse
from isthmus.platform.flow_drawing import svg
from isthmus.platform.flow_stock import EDITOR, Stock
from isthmus.platform.flow_text import lines
from isthmus.platform.toolbox import all_tools
from isthmus.prompts import semver
from isthmus.prompts.registry import Registry
from isthmus.settings import Settings

_FILE_BYTES = 1_000_000
_HEADINGS = ("ID", "VERSION", "SCHEMA", "ENVIRONMENT")


def add(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",  # pyright: ignore[reportPrivateUsage] - argparse has no public name for it
) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    parser = subparsers.add_parser("flows", help="list, check or draw flows")
    actions = parser.add_subparsers(metavar="list|check|graph", required=True)
    listing = actions.add_parser("list", help="print a table of the flows of this server")
    checking = actions.add_parser("check", help="check files, or the flows of this server")
    checking.add_argument("files", nargs="*", type=Path, metavar="FILE", help="a flow, YAML")
    drawing = actions.add_parser("graph", help="show the components of a flow and their ways")
    drawing.add_argument("id", metavar="ID", help="such as developer, or the path of a YAML file")
    drawing.add_argument("--version", default="*", metavar="V", help="version or constraint")
    drawing.add_argument("--svg", action="store_true", help="a drawing, in place of text")
    drawing.add_argument("--output", type=Path, metavar="FILE", help="write it there")
    for action, do in ((listing, _list), (checking, _check), (drawing, _graph)):
        action.set_defaults(run=run, do=do)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what was asked for. Returns 0, 1 when a check failed, 2 for wrong arguments."""
    del settings
    do = cast("Callable[[argparse.Namespace, Stock], int]", args.do)
    try:
        schemas = read_schemas(LIBRARY / "schemas")
        return do(args, Stock(all_tools(), Registry.load(LIBRARY / "prompts"), schemas))
    except Invalid as error:
        return _fail(1, error.detail)
    except OSError as error:
        return _fail(2, f"{error.filename}: {error.strerror}")


def _list(_: argparse.Namespace, stock: Stock) -> int:
    entries = _bundled(stock).entries
    rows = [_HEADINGS, *((e.name, e.version, e.schema, e.flow.environment) for e in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        line = "".join(f"{cell:{width + 2}}" for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")
    return 0


def _check(args: argparse.Namespace, stock: Stock) -> int:
    files = cast("list[Path]", args.files)
    if not files:
        _bundled(stock)
    found = [f"{file}: {fault}" for file in files for fault in _faults(file, stock)]
    if found:
        return _fail(1, *found)
    sys.stdout.write("ok\n")
    return 0


def _faults(file: Path, stock: Stock) -> tuple[str, ...]:
    try:
        value: object = msgspec.yaml.decode(_read(file))
    except (msgspec.DecodeError, RecursionError) as error:
        return (str(error),)
    return faults(value, stock, EDITOR)


def _graph(args: argparse.Namespace, stock: Stock) -> int:
    wanted = str(args.id)
    if wanted.endswith((".yml", ".yaml")):
        return _drawn(args, wanted, parse(_read(Path(wanted)), wanted, stock))
    name, _, schema = wanted.partition("/")
    versions = {
        entry.version: entry
        for entry in _bundled(stock).entries
        if (entry.name, entry.schema) == (name, schema or "v1")
    }
    try:
        best = semver.pick(map(semver.parse, versions), args.version)
    except ValueError as error:
        return _fail(2, f"--version: {error}")
    if best is None:
        return _fail(2, f"there is no flow {wanted!r} in a version {args.version!r}")
    return _drawn(args, _title(versions[best.text]), versions[best.text].flow)


def _drawn(args: argparse.Namespace, title: str, flow: Flow) -> int:
    drawing = svg(flow, title) if args.svg else "\n".join([title, *lines(flow)]) + "\n"
    file = cast("Path | None", args.output)
    if file is None:
        sys.stdout.write(drawing)
    else:
        file.write_text(drawing, encoding="utf-8")
    return 0


def _title(entry: Entry) -> str:
    return f"{entry.name} {entry.version} ({entry.schema}, {entry.flow.environment})"


def _bundled(stock: Stock) -> Catalogue:
    return load(LIBRARY / "flows", stock)


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_FILE_BYTES)


def _fail(code: int, *reasons: str) -> int:
    for reason in reasons:
        sys.stderr.write(f"isthmus flows: {reason}\n")
    return code

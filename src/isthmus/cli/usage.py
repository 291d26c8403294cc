"""`isthmus usage`: requests, tokens, cost, latency and acceptance, by any dimension."""

import argparse
import asyncio
import csv
import io
import sys
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import astuple

from isthmus.adapters.usage.spool import Spool
from isthmus.app.foundation import SystemClock
from isthmus.app.stores import open_stores
from isthmus.app.usage import FOLDER
from isthmus.cli._desk import Row, Subparsers, told
from isthmus.core.errors import Failure, Invalid
from isthmus.core.usage import DIMENSIONS, TIMES, UsageStore
from isthmus.instance.usage import Latency, Suggestions, UsageReport, UsageShape, UsageWish
from isthmus.settings import Settings

ROWS_LIMIT: Final = 100_000
_PLAIN: Final = UsageShape.__struct_fields__[1:-2]
_HEADINGS: Final = (
    *("REQUESTS", "ERRORS", "INPUT", "CACHED", "OUTPUT", "COST $", "P50 MS", "P95 MS"),
    *("SHOWN", "ACCEPTED", "RATE"),
)


def add(subparsers: Subparsers) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    parser = subparsers.add_parser(
        "usage",
        help="tell what was used, and what it cost",
        description="Times are ISO 8601 (UTC), or how long ago: 24h, 7d, 4w.",
    )
    names = ", ".join(TIMES + DIMENSIONS)
    parser.add_argument("--since", default="", metavar="TIME", help="default: 30d")
    parser.add_argument("--until", default="", metavar="TIME", help="default: now")
    parser.add_argument(
        "--by", default="model", metavar="NAMES", help=f"of {names}; `` for one sum"
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="only what has this value",
    )
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the figures. Returns 0, or 2 with the reason."""
    where = dict(each.partition("=")[::2] for each in args.where)
    wish = UsageWish(
        since=args.since,
        until=args.until,
        by=tuple(name.strip() for name in args.by.split(",") if name.strip()),
        where=where,
        per_page=ROWS_LIMIT,
    )
    try:
        groups = asyncio.run(_asked(wish, settings))
    except Invalid as error:
        return _refused(*(f"--{each.field} {each.reason}" for each in error.fields))
    except Failure as error:
        return _refused(error.detail)
    sys.stdout.write(_FORMATS[args.format](wish.by, groups))
    return 0


async def _asked(wish: UsageWish, settings: Settings) -> Sequence[UsageShape]:
    clock = SystemClock()
    async with open_stores(settings, clock) as stores:
        await _deliver(Spool(settings.data_dir / FOLDER, sys.maxsize), stores.usage)
        return (await UsageReport(stores.usage, clock).told(wish))[0]


async def _deliver(spool: Spool, store: UsageStore) -> None:
    """Add what waits in files: a server that does so at the same time does no harm."""
    for batch_id in await asyncio.to_thread(spool.ids):
        batch = await asyncio.to_thread(spool.read, batch_id)
        if batch is not None:
            await store.add(batch)
            await asyncio.to_thread(spool.remove, batch_id)


def _refused(*reasons: str) -> int:
    sys.stderr.write("".join(f"isthmus usage: {reason}\n" for reason in reasons))
    return 2


def _table(by: Sequence[str], groups: Sequence[UsageShape]) -> str:
    rows: list[Row] = [
        (
            *(group.by[name] or "-" for name in by),
            *(group.requests, group.errors, group.input_tokens, group.cache_read_tokens),
            *(group.output_tokens, f"{group.cost_usd:.4f}{'+' if group.unpriced else ''}"),
            *(_known(group.latency_ms.p50), _known(group.latency_ms.p95)),
            *(group.suggestions.shown, group.suggestions.accepted),
            _known(group.suggestions.acceptance_rate),
        )
        for group in groups
    ]
    return told([(*(name.upper() for name in by), *_HEADINGS), *rows])


def _known(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _json(_: Sequence[str], groups: Sequence[UsageShape]) -> str:
    return msgspec.json.format(msgspec.json.encode(groups)).decode() + "\n"


def _csv(by: Sequence[str], groups: Sequence[UsageShape]) -> str:
    """The figures of the JSON form, one column each."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    latency = (f"latency_ms_{name}" for name in Latency.__struct_fields__)
    writer.writerow([*by, *_PLAIN, *latency, *Suggestions.__struct_fields__])
    for group in groups:
        cells = [getattr(group, name) for name in _PLAIN]
        cells += [*astuple(group.latency_ms), *astuple(group.suggestions)]
        writer.writerow([*(_harmless(group.by[name]) for name in by), *cells])
    return written.getvalue()


def _harmless(cell: str) -> str:
    """Text that no spreadsheet takes for a formula: labels come from callers."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell


_FORMATS: Final = {"table": _table, "json": _json, "csv": _csv}

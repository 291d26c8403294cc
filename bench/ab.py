"""CPU a request of several source trees, by turns: `python -m bench.ab [NAME=]TREE[+policies] ...`.

On a shared machine the wall clock says nothing and CPU time drifts, so each round drives every
server once, in another order, and what counts is the median of the rounds' ratios to the first.
All of them run on this interpreter's packages.
"""

import argparse
import json
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import policies
from bench.__main__ import COMPLETION, MESSAGE, STREAM, providers
from bench.machine import cpu_s, post, require, tree_rss_mb, wrk
from bench.server import Server, isthmus
from bench.upstream import mock_upstream

PROXY = "/v1/proxy/anthropic/v1/messages"
ROUTES = {
    "completion": ("/v2/code/completions", COMPLETION),
    "proxy": (PROXY, MESSAGE),
    "streamed": (PROXY, STREAM),
}
WARM_S = 2.0


@dataclass(frozen=True, slots=True)
class Side:
    """A source tree, as it is started."""

    name: str
    tree: Path
    governed: bool

    @classmethod
    def parse(cls, text: str) -> "Side":
        """`[NAME=]TREE[+policies]`."""
        name, _, place = text.rpartition("=")
        place, _, option = place.partition("+")
        if option not in {"", "policies"} or not (Path(place) / "src/isthmus").is_dir():
            raise argparse.ArgumentTypeError(f"{text}: not a source tree of Isthmus")
        return cls(name or text, Path(place).resolve(), bool(option))


@dataclass(slots=True)
class Taken:
    """What a side took in each round, in microseconds of CPU a request, and its memory then."""

    server: Server
    cpu_us: list[float] = field(default_factory=list[float])
    ready_mb: float = 0.0
    rss_mb: float = 0.0


def measure(
    route: str, sides: list[Side], rounds: int, seconds: float, connections: int
) -> list[Taken]:
    """Every side, in the order in which they were named."""
    path, body = ROUTES[route]
    folder = Path(tempfile.mkdtemp(prefix="bench-ab-"))
    try:
        with ExitStack() as stack:
            base = f"http://127.0.0.1:{stack.enter_context(mock_upstream(folder))}"
            found: list[Taken] = []
            for number, side in enumerate(sides):
                home = folder / str(number)
                home.mkdir()
                settings = _settings(base, side, route) | {"PYTHONPATH": str(side.tree / "src")}
                found.append(Taken(stack.enter_context(isthmus(home, extra=settings))))
                found[-1].ready_mb = tree_rss_mb(found[-1].server.pid)
            for each in found:
                _drive(each.server, path, body, connections, folder, WARM_S)
            for turn in range(rounds):
                # Whoever comes first finds other caches than whoever comes last.
                at = turn % len(found)
                for each in (*found[at:], *found[:at]):
                    cpu_us = _drive(each.server, path, body, connections, folder, seconds)
                    each.cpu_us.append(cpu_us)
            for each in found:
                each.rss_mb = tree_rss_mb(each.server.pid)
            return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settings(base: str, side: Side, route: str) -> dict[str, str]:
    streamed = f"{base}/stream" if route == "streamed" else base
    settings = providers(base) | {"ISTHMUS_PROVIDERS__ANTHROPIC__BASE_URL": streamed}
    if not side.governed:
        return settings
    governed = policies.settings(base)
    places = json.loads(governed["ISTHMUS_ROUTING__DEPLOYMENTS"])
    for place in places.values():
        if place["base_url"] == base:
            place["base_url"] = streamed
    return settings | governed | {"ISTHMUS_ROUTING__DEPLOYMENTS": json.dumps(places)}


def _drive(
    server: Server, path: str, body: str, connections: int, folder: Path, seconds: float
) -> float:
    """Microseconds of the server's CPU that a request took."""
    url, script = f"http://127.0.0.1:{server.port}{path}", post(body, server.headers)
    before_s = cpu_s(server.pid)
    load = wrk(url, script, connections, folder, seconds)
    if load.errors:
        raise RuntimeError(f"{load.errors} of the requests to {path} failed")
    return (cpu_s(server.pid) - before_s) * 1e6 / load.requests


def _print(route: str, sides: list[Side], found: list[Taken]) -> None:
    print(f"| {route} | CPU us | least | most | of the first | MB at ready | after |")
    print("|---|---|---|---|---|---|---|")
    first = found[0].cpu_us
    for side, taken in zip(sides, found, strict=True):
        cpu_us = taken.cpu_us
        ratio = median(one / other for one, other in zip(cpu_us, first, strict=True))
        print(
            f"| {side.name} | {median(cpu_us):.1f} | {min(cpu_us):.1f} | {max(cpu_us):.1f}"
            f" | {ratio:.3f} | {taken.ready_mb:.0f} | {taken.rss_mb:.0f} |"
        )


def main() -> None:
    """Measure what was asked for, and print a table a route."""
    arguments = argparse.ArgumentParser(prog="python -m bench.ab")
    arguments.add_argument("sides", nargs="+", type=Side.parse, metavar="[NAME=]TREE[+policies]")
    arguments.add_argument("--route", choices=tuple(ROUTES), action="append")
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--seconds", type=int, default=1, help="of each turn")
    arguments.add_argument("--connections", type=int, default=40)
    told = arguments.parse_args()
    require("wrk", "nginx", "taskset")
    for route in told.route or ROUTES:
        found = measure(route, told.sides, told.rounds, told.seconds, told.connections)
        _print(route, told.sides, found)


if __name__ == "__main__":
    main()

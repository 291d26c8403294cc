"""Figures as a table for people, with the ratios that matter."""

from dataclasses import dataclass, replace
from pathlib import Path

from bench.machine import Load


@dataclass(frozen=True, slots=True)
class Row:
    """One server under load, at each number of connections."""

    name: str
    loads: tuple[Load, ...]
    rss_mb: float | None
    ready_s: float | None

    def with_ready(self, ready_s: float) -> "Row":
        """The same, with the time from process start to the first answer."""
        return replace(self, ready_s=ready_s)

    def at(self, connections: int) -> Load:
        """The load with this many connections."""
        return next(load for load in self.loads if load.connections == connections)


@dataclass(frozen=True, slots=True)
class Steps:
    """Sessions at once: steps a second, our CPU milliseconds a step and a bare LangGraph's in the
    same minute, memory, time to ready.
    """

    sessions: int
    steps_per_s: float
    cpu_ms: float
    bare_ms: float
    rss_mb: float
    http_ready_s: float
    sessions_ready_s: float


@dataclass(frozen=True, slots=True)
class Streams:
    """Slow streams at once: time to the first byte, and the longest stall beyond their pace."""

    name: str
    streams: int
    first_p50_ms: float
    first_p99_ms: float
    stall_ms: float


@dataclass(frozen=True, slots=True)
class Sticky:
    """Turns of sessions that could be read from a prompt cache, and those that were."""

    name: str
    sessions: int
    cacheable: int
    hits: int
    read_share: float


@dataclass(frozen=True, slots=True)
class Posts:
    """Checkpoints posted one after the other on one connection."""

    database: str
    form: str
    size_kb: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Stored:
    """A session of a thousand steps: storing one at 1 MB of state, loading it at 5 MB.

    Bytes are what a step writes, among the first and among the last. `times_state` is all that is
    stored of a session, against its final state as JSON.
    """

    database: str
    put_p50_ms: float
    put_p99_ms: float
    load_p50_ms: float
    load_p99_ms: float
    early_bytes: float
    late_bytes: float
    times_state: float


@dataclass(frozen=True, slots=True)
class Relayed:
    """From a client's answer to its next action, over gRPC and over a socket; an idle socket.

    A round is four frames: the answer, two notices, an action. CPU is ours, with a share of what
    opening a session costs.
    """

    sessions: int
    direct_ms: float
    direct_cpu_ms: float
    relayed_ms: float
    relayed_cpu_ms: float
    idle_kb: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """Sessions at a client's pace: one second to answer an action, and then the next one.

    `first_s` is from the server's start to the first action of a session; `idle_kb` what a session
    takes that waits for its client.
    """

    first_s: float
    sessions: int
    p50_ms: float
    p99_ms: float
    idle_kb: float


@dataclass(frozen=True, slots=True)
class Installed:
    """Size of an install without test tools."""

    name: str
    size_mb: float


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that one run measured; what it left out is empty."""

    rows: list[Row]
    streams: list[Streams]
    steps: list[Steps]
    posts: list[Posts]
    stored: list[Stored]
    sticky: list[Sticky]
    relay: list[Relayed]
    waiting: list[Waiting]
    sizes: list[Installed]


def write(path: Path, machine: str, results: Results) -> None:
    """Print the tables and keep them in `path`."""
    steps, sizes = results.steps, results.sizes
    lines = ["# Results", "", f"{machine}. Ratios within one run are what counts.", ""]
    if results.rows:
        lines += _http(results.rows)
    if results.streams:
        lines += _streams(results.streams)
    if steps:
        lines += [
            "| Sessions at once | Steps/s | CPU ms a step | Bare LangGraph | RSS MB | HTTP ready "
            "| Sessions ready |"
        ]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [
            f"| {s.sessions} | {s.steps_per_s:,.0f} | {s.cpu_ms:.2f} | {s.bare_ms:.2f} "
            f"| {s.rss_mb:.0f} | {s.http_ready_s:.2f} | {s.sessions_ready_s:.2f} |"
            for s in steps
        ]
        lines.append("")
    if results.posts:
        lines += ["| Checkpoint posted to | Form | KB | p50 ms | p99 ms |", "|---|---|---|---|---|"]
        lines += [
            f"| {post.database} | {post.form} | {post.size_kb} | {post.p50_ms:.1f} "
            f"| {post.p99_ms:.1f} |"
            for post in results.posts
        ]
        lines.append("")
    if results.waiting:
        lines += _waiting(results.waiting)
    if results.stored:
        lines += _stored(results.stored)
    if results.relay:
        lines += _relay(results.relay)
    if results.sticky:
        lines += _sticky(results.sticky)
    if sizes:
        lines += ["| Install | MB |", "|---|---|"]
        lines += [f"| {size.name} | {size.size_mb:.0f} |" for size in sizes]
        lines.append("")
    text = "\n".join(lines)
    path.write_text(text, encoding="utf-8")
    print(text)


def _http(rows: list[Row]) -> list[str]:
    lines = [
        "| Server | Conns | Requests/s | p50 ms | p99 ms | CPU us | Errors | RSS MB | Ready |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        rss = f"{row.rss_mb:.0f}" if row.rss_mb else ""
        ready = f"{row.ready_s:.2f}" if row.ready_s else ""
        lines += [
            f"| {row.name} | {load.connections} | {load.rps:,.0f} | {load.p50_ms:.2f} "
            f"| {load.p99_ms:.2f} | {load.cpu_us:.0f} | {load.errors} | {rss} | {ready} |"
            for load in row.loads
        ]
    lines += ["", *_ratios({row.name: row for row in rows}), ""]
    return lines


def _streams(streams: list[Streams]) -> list[str]:
    direct, ours = streams
    added_ms = ours.first_p99_ms - direct.first_p99_ms
    return [
        "| 200 tokens, 200 connections | Streams | First byte p50 ms | p99 ms | Longest stall ms |",
        "|---|---|---|---|---|",
        *(
            f"| {each.name} | {each.streams} | {each.first_p50_ms:.2f} | {each.first_p99_ms:.2f} "
            f"| {each.stall_ms:.1f} |"
            for each in streams
        ),
        "",
        f"- The v4 stream adds {added_ms:.2f} ms p99 to the first byte.",
        "",
    ]


def _stored(rows: list[Stored]) -> list[str]:
    return [
        "| Session of 1,000 steps | Store p50 ms | p99 ms | Load 5 MB p50 ms | p99 ms "
        "| Bytes a step, first | Last | All / state |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {row.database} | {row.put_p50_ms:.2f} | {row.put_p99_ms:.2f} "
            f"| {row.load_p50_ms:.1f} | {row.load_p99_ms:.1f} | {row.early_bytes:,.0f} "
            f"| {row.late_bytes:,.0f} | {row.times_state:.2f} |"
            for row in rows
        ),
        "",
    ]


def _relay(rows: list[Relayed]) -> list[str]:
    return [
        "| Sessions | gRPC p50 ms | CPU ms | WebSocket p50 ms | CPU ms | Idle socket KB |",
        "|---|---|---|---|---|---|",
        *(
            f"| {row.sessions} | {row.direct_ms:.2f} | {row.direct_cpu_ms:.2f} "
            f"| {row.relayed_ms:.2f} | {row.relayed_cpu_ms:.2f} | {row.idle_kb:.1f} |"
            for row in rows
        ),
        "",
        *(
            f"- The relay adds {row.relayed_ms - row.direct_ms:.2f} ms p50 to four frames."
            for row in rows
        ),
        "",
    ]


def _waiting(rows: list[Waiting]) -> list[str]:
    return [
        "| Start to first action s | Sessions, 1 s an answer | p50 ms | p99 ms | Idle session KB |",
        "|---|---|---|---|---|",
        *(
            f"| {row.first_s:.2f} | {row.sessions} | {row.p50_ms:.1f} | {row.p99_ms:.1f} "
            f"| {row.idle_kb:.0f} |"
            for row in rows
        ),
        "",
    ]


def _sticky(rows: list[Sticky]) -> list[str]:
    return [
        "| Provider stickiness | Sessions | Cacheable turns | Read from the cache | Tokens read |",
        "|---|---|---|---|---|",
        *(
            f"| {row.name} | {row.sessions} | {row.cacheable} "
            f"| {100 * row.hits / max(1, row.cacheable):.1f} % | {100 * row.read_share:.1f} % |"
            for row in rows
        ),
        "",
    ]


def _ratios(rows: dict[str, Row]) -> list[str]:
    lines: list[str] = []
    for ours in ("Isthmus completion", "Isthmus proxy", "Isthmus proxy, streamed"):
        for peer in ("LiteLLM", "Portkey"):
            if ours in rows and peer in rows:
                ratio = rows[ours].at(40).rps / rows[peer].at(40).rps
                cpu = rows[peer].at(40).cpu_us / max(1.0, rows[ours].at(40).cpu_us)
                lines.append(
                    f"- {ours} at 40 connections: {ratio:.1f} times {peer} "
                    f"({cpu:.1f} by CPU a request)."
                )
        if ours in rows and "direct" in rows:
            mine, direct = rows[ours].at(1), rows["direct"].at(1)
            lines.append(
                f"- {ours} at 1 connection adds {mine.p50_ms - direct.p50_ms:.2f} ms p50 and "
                f"{mine.p99_ms - direct.p99_ms:.2f} ms p99 over direct."
            )
    return lines

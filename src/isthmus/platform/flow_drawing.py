"""A flow as a drawing: an SVG that needs nothing else. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from isthmus.platform.flow import (
    ABORT,
    DEFAULT_ROUTE,
    END,
    Agent,
    Component,
    FixedStep,
    Flow,
    OneOff,
    Question,
)
from isthmus.platform.flow_layout import Link, Point, Size, laid_out
from isthmus.platform.flow_text import what

START: Final = "(start)"
USER: Final = "(user)"
"""No component can have these names."""
LINE: Final = 17.0
CHAR: Final = 7.3
"""About the width of a letter at 12 pixels; the text is never longer than its box."""
LABEL_CHARS: Final = 48
PAD: Final = 12.0
LOOP: Final = 36.0
"""How far a way from a box to itself reaches out."""
STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#1f2430;text-anchor:middle}"
    ".name{font-weight:600}.more{fill:#545b6b}"
    ".label{fill:#384058;paint-order:stroke;stroke:#fff;stroke-width:4px}"
    "rect{stroke:#5b6478;stroke-width:1.2;rx:6}"
    ".agent rect{fill:#e6eefc}.turn rect{fill:#e4f5ec}.question rect{fill:#fdf3d9}"
    ".step rect{fill:#eef0f4}.place rect{fill:#fff;rx:14}.under rect{stroke-dasharray:5 3}"
    "path{fill:none;stroke:#5b6478;stroke-width:1.3}.delegates{stroke-dasharray:5 3}"
    "#head path{fill:#5b6478;stroke:none}"
)


@dataclass(frozen=True, slots=True)
class _Box:
    kind: str
    name: str
    lines: tuple[str, ...]

    @property
    def size(self) -> Size:
        widest = max(len(line) for line in self.lines)
        return Size(widest * CHAR + 2 * PAD, len(self.lines) * LINE + PAD)


@dataclass(frozen=True, slots=True)
class _Arrow:
    source: str
    target: str
    label: str = ""
    kind: str = "way"

    @property
    def shown(self) -> str:
        return self.label if len(self.label) <= LABEL_CHARS else self.label[: LABEL_CHARS - 1] + "…"

    @property
    def link(self) -> Link:
        height = LINE if self.label else 0.0
        return Link(self.source, self.target, Size(len(self.shown) * CHAR + PAD, height))


def svg(flow: Flow, title: str) -> str:
    """The drawing. Every box and arrow has what it stands for in `data-` attributes."""
    boxes = {box.name: box for box in _boxes(flow)}
    arrows = list(_arrows(flow))
    loops = [arrow for arrow in arrows if arrow.source == arrow.target]
    others = [arrow for arrow in arrows if arrow.source != arrow.target]
    sizes = {name: _with_loop(box, loops) for name, box in boxes.items()}
    layout = laid_out(sizes, [arrow.link for arrow in others])
    width, height = (f"{side:.0f}" for side in (layout.size.width, layout.size.height))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}" role="img">',
            f"<title>{_text(title)}</title>",
            f"<style>{STYLE}</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8"'
            ' markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>',
            '<rect width="100%" height="100%" style="fill:#fff;stroke:none;rx:0"/>',
            *(_way(one, way) for one, way in zip(others, layout.ways, strict=True)),
            *(_loop(one, boxes[one.source], layout.boxes[one.source]) for one in loops),
            *(_drawn(box, layout.boxes[name]) for name, box in boxes.items()),
            *(_label(one, at) for one, at in zip(others, layout.labels, strict=True) if one.label),
            "</svg>",
            "",
        ]
    )


def _boxes(flow: Flow) -> Iterator[_Box]:
    """The entry first, so that it stands at the top; then the others, and where ways end."""
    yield _Box("place", START, ("start",))
    parts = sorted(flow.components, key=lambda part: part.name != flow.entry)
    for part in parts:
        kind = f"{_kind(part)} under" if part.name in flow.supervisors else _kind(part)
        yield _Box(kind, part.name, tuple(_lines(part, flow)))
    if flow.talks:
        yield _Box("place", USER, ("the user",))
    ends = {target for route in flow.routes.values() for target in route.to.values()}
    for name in (END, ABORT):
        if name in ends:
            yield _Box("place", name, (name,))


def _lines(part: Component, flow: Flow) -> Iterator[str]:
    yield part.name
    yield what(part)
    route = flow.routes.get(part.name)
    if route is not None and route.by is not None:
        yield f"by {route.by.target}:{'.'.join(route.by.path)}"


def _kind(part: Component) -> str:
    match part:
        case Agent():
            return "agent"
        case OneOff():
            return "turn"
        case Question():
            return "question"
        case FixedStep():
            return "step"


def _arrows(flow: Flow) -> Iterator[_Arrow]:
    """One for each two boxes that a way joins, with all the values that lead along it."""
    yield _Arrow(START, flow.entry)
    if flow.talks:
        yield _Arrow(flow.entry, USER, "answers")
        yield _Arrow(USER, flow.entry, "asks")
    for name, route in flow.routes.items():
        ways: dict[str, list[str]] = defaultdict(list)
        for value, target in route.to.items():
            ways[target].append("else" if value == DEFAULT_ROUTE else value or '""')
        for target, values in ways.items():
            yield _Arrow(name, target, "" if route.by is None else ", ".join(values))
    for name, supervisor in flow.supervisors.items():
        yield _Arrow(supervisor, name, kind="delegates")


def _with_loop(box: _Box, loops: Sequence[_Arrow]) -> Size:
    """The room that a box needs: a way from itself to itself stands at its right side."""
    size = box.size
    room = sum(2 * (LOOP + one.link.label.width) for one in loops if one.source == box.name)
    return Size(size.width + room, size.height)


def _drawn(box: _Box, at: Point) -> str:
    (x, y), size = at, box.size
    top = y - size.height / 2
    rows = [
        f'<text class="{kind}" x="{x:.1f}" y="{top + place * LINE:.1f}">{_text(line)}</text>'
        for place, (kind, line) in enumerate(
            zip(("name", "more", "more"), box.lines, strict=False), 1
        )
    ]
    return "".join(
        [
            f'<g class="box {box.kind}" data-name={_quoted(box.name)}>',
            f'<rect x="{x - size.width / 2:.1f}" y="{top:.1f}" width="{size.width:.1f}"'
            f' height="{size.height:.1f}"/>',
            *rows,
            "</g>",
        ]
    )


def _way(arrow: _Arrow, points: Sequence[Point]) -> str:
    """A curve that leaves and enters every layer upright."""
    (x, y), *_ = points
    curve = [f"M{x:.1f} {y:.1f}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        middle = (y + to_y) / 2
        curve.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
    return _path(arrow, "".join(curve))


def _loop(arrow: _Arrow, box: _Box, at: Point) -> str:
    (x, y), size = at, box.size
    right, reach = x + size.width / 2, size.height / 3
    out = right + LOOP
    curve = f"M{right:.1f} {y + reach:.1f}C{out:.1f} {y + reach:.1f} {out:.1f} {y - reach:.1f}"
    label = _label(arrow, (right + LOOP + arrow.link.label.width / 2, y)) if arrow.label else ""
    return _path(arrow, f"{curve} {right:.1f} {y - reach:.1f}") + label


def _path(arrow: _Arrow, curve: str) -> str:
    ends = f"data-from={_quoted(arrow.source)} data-to={_quoted(arrow.target)}"
    label = f" data-label={_quoted(arrow.label)}" if arrow.label else ""
    return f'<path class="{arrow.kind}" {ends}{label} d="{curve}" marker-end="url(#head)"/>'


def _label(arrow: _Arrow, at: Point) -> str:
    x, y = at
    whole = f"<title>{_text(arrow.label)}</title>" if arrow.shown != arrow.label else ""
    return f'<text class="label" x="{x:.1f}" y="{y + 4:.1f}">{whole}{_text(arrow.shown)}</text>'


def _text(text: str) -> str:
    return escape(_printable(text))


def _quoted(text: str) -> str:
    return quoteattr(_printable(text))


def _printable(text: str) -> str:
    """XML cannot hold every character, not even as a reference."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)

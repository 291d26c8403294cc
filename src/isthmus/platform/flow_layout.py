"""Where the boxes of a drawing stand, layer below layer, and which way its arrows take. Pure.

Layers, places within a layer, then distances, as in Sugiyama, Tagawa and Toda, "Methods for Visual
Understanding of Hierarchical System Structures" (1981). A label is a place of its own between two
layers, so that nothing is ever written over anything else. Lengths are pixels.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

Point: TypeAlias = tuple[float, float]
_Key: TypeAlias = str | tuple[int, int]
"""A box, or the place of an arrow in a layer: its number, and the layer's."""
SWEEPS: Final = 12
GAP: Final = 28.0
LAYER_GAP: Final = 20.0
MARGIN: Final = 24.0
NARROW: Final = 12.0
PORT_GAP: Final = 22.0
STRAIGHT: Final = 6.0
"""How much more than a box a long arrow keeps to its line."""


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height."""

    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Link:
    """An arrow between two different boxes, with the size of its label."""

    source: str
    target: str
    label: Size


@dataclass(frozen=True, slots=True)
class Layout:
    """Centres of the boxes; for each link the points of its way, and the centre of its label."""

    size: Size
    boxes: Mapping[str, Point]
    ways: Sequence[Sequence[Point]]
    labels: Sequence[Point]


def laid_out(boxes: Mapping[str, Size], links: Sequence[Link]) -> Layout:
    """The layout; the first box stands at the top."""
    order, turned = _walked(list(boxes), links)
    layer = _layers(order, links, turned)
    rows, chains = _rows(order, links, turned, layer)
    _sort(rows, chains)
    sizes: dict[_Key, Size] = {**boxes}
    for number, chain in enumerate(chains):
        link = links[number]
        sizes |= dict.fromkeys(chain[1:-1], Size(NARROW, 0.0))
        sizes[chain[-2] if number in turned else chain[1]] = link.label
    places = _places(rows, chains, sizes)
    tall = _heights(rows, sizes)
    ways = [
        list(reversed(way)) if number in turned else way
        for number, way in enumerate(_ways(chains, places, sizes, tall))
    ]
    labels = [places[c[-2] if n in turned else c[1]] for n, c in enumerate(chains)]
    width = max(x + sizes[key].width / 2 for key, (x, _) in places.items()) + MARGIN
    height = max(y + sizes[key].height / 2 for key, (_, y) in places.items()) + MARGIN
    return Layout(Size(width, height), {name: places[name] for name in boxes}, ways, labels)


def _walked(names: Sequence[str], links: Sequence[Link]) -> tuple[list[str], set[int]]:
    """The boxes, each before those that it leads to; and the links that lead back."""
    out: dict[str, list[int]] = defaultdict(list)
    for number, link in enumerate(links):
        out[link.source].append(number)
    done: list[str] = []
    under_way: set[str] = set()
    turned: set[int] = set()

    def walk(name: str) -> None:
        under_way.add(name)
        for number in out[name]:
            target = links[number].target
            if target in under_way:
                turned.add(number)
            elif target not in done:
                walk(target)
        under_way.remove(name)
        done.append(name)

    for name in names:
        if name not in done:
            walk(name)
    return done[::-1], turned


def _layers(order: Iterable[str], links: Sequence[Link], turned: set[int]) -> dict[str, int]:
    """Each box as low as the longest way to it is long; every second layer is for labels."""
    layer = dict.fromkeys(order, 0)
    for name in layer:
        for number, link in enumerate(links):
            if link.source == name and number not in turned:
                layer[link.target] = max(layer[link.target], layer[name] + 2)
    return layer


def _rows(
    order: Iterable[str], links: Sequence[Link], turned: set[int], layer: Mapping[str, int]
) -> tuple[list[list[_Key]], list[list[_Key]]]:
    """What stands in each layer; and each link from its upper to its lower end, layer by layer."""
    rows: list[list[_Key]] = [[] for _ in range(max(layer.values()) + 1)]
    for name in order:
        rows[layer[name]].append(name)
    chains: list[list[_Key]] = []
    for number, link in enumerate(links):
        ends = (link.source, link.target)
        upper, lower = reversed(ends) if number in turned else ends
        between: list[_Key] = [(number, at) for at in range(layer[upper] + 1, layer[lower])]
        for at, key in enumerate(between, layer[upper] + 1):
            rows[at].append(key)
        chains.append([upper, *between, lower])
    return rows, chains


def _sort(rows: list[list[_Key]], chains: Sequence[Sequence[_Key]]) -> None:
    """Put each row in the order of its neighbours' places, so that few arrows cross."""
    above, below = _neighbours(chains)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        near = above if down else below
        for row in rows if down else rows[::-1]:
            place = {key: at for other in rows for at, key in enumerate(other)}
            row.sort(key=lambda key: _mean([place[n] for n in near[key]], place[key]))


def _neighbours(
    chains: Sequence[Sequence[_Key]],
) -> tuple[dict[_Key, list[_Key]], dict[_Key, list[_Key]]]:
    above: dict[_Key, list[_Key]] = defaultdict(list)
    below: dict[_Key, list[_Key]] = defaultdict(list)
    for chain in chains:
        for upper, lower in pairwise(chain):
            below[upper].append(lower)
            above[lower].append(upper)
    return above, below


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _places(
    rows: Sequence[Sequence[_Key]],
    chains: Sequence[Sequence[_Key]],
    sizes: Mapping[_Key, Size],
) -> dict[_Key, Point]:
    above, below = _neighbours(chains)
    x = dict.fromkeys(sizes, 0.0)
    for sweep in range(2 * SWEEPS):
        near = (above, below)[sweep % 2]
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            wished = [_mean([x[n] for n in near[key]], x[key]) for key in row]
            widths = [sizes[key].width for key in row]
            pulls = [1.0 if isinstance(key, str) else STRAIGHT for key in row]
            x.update(zip(row, _spread(wished, widths, pulls), strict=True))
    left = min(x[key] - sizes[key].width / 2 for key in x)
    tall = _heights(rows, sizes)
    places: dict[_Key, Point] = {}
    y = MARGIN
    for row in rows:
        height = tall[row[0]]
        places |= {key: (x[key] - left + MARGIN, y + height / 2) for key in row}
        y += height + LAYER_GAP
    return places


def _heights(rows: Sequence[Sequence[_Key]], sizes: Mapping[_Key, Size]) -> dict[_Key, float]:
    """How tall the layer of each is."""
    return {key: max(sizes[other].height for other in row) for row in rows for key in row}


def _spread(
    wished: Sequence[float], widths: Sequence[float], pulls: Sequence[float]
) -> list[float]:
    """The centres next to the wished ones that keep the order and the gaps: isotonic regression.

    `pulls` say how much each wish counts.
    """
    offsets = [0.0]
    for left, right in pairwise(widths):
        offsets.append(offsets[-1] + (left + right) / 2 + GAP)
    pools: list[tuple[float, float, int]] = []
    for wish, offset, pull in zip(wished, offsets, pulls, strict=False):
        pools.append((wish - offset, pull, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, weight, count), (other, more, further) = pools.pop(), pools.pop()
            level = (one * weight + other * more) / (weight + more)
            pools.append((level, weight + more, count + further))
    level = [level for level, _, count in pools for _ in range(count)]
    return [one + offset for one, offset in zip(level, offsets, strict=False)]


def _ways(
    chains: Sequence[Sequence[_Key]],
    places: Mapping[_Key, Point],
    sizes: Mapping[_Key, Size],
    tall: Mapping[_Key, float],
) -> list[list[Point]]:
    """From the lower side of the upper box to the upper side of the lower one.

    Through a layer each goes straight down: whatever stands beside it is not cut.
    """
    starts = _ports([(chain[0], chain[1]) for chain in chains], places, sizes, 0.5)
    ends = _ports([(chain[-1], chain[-2]) for chain in chains], places, sizes, -0.5)
    return [
        [
            start,
            *(
                (places[key][0], places[key][1] + side * tall[key])
                for key in chain[1:-1]
                for side in (-0.5, 0.5)
            ),
            end,
        ]
        for start, chain, end in zip(starts, chains, ends, strict=True)
    ]


def _ports(
    ends: Sequence[tuple[_Key, _Key]],
    places: Mapping[_Key, Point],
    sizes: Mapping[_Key, Size],
    side: float,
) -> list[Point]:
    """Where each arrow meets its box: side by side, in the order of where they lead."""
    at: dict[_Key, list[int]] = defaultdict(list)
    for number in sorted(range(len(ends)), key=lambda n: places[ends[n][1]][0]):
        at[ends[number][0]].append(number)
    found: dict[int, Point] = {}
    for box, numbers in at.items():
        (x, y), size = places[box], sizes[box]
        gap = min(PORT_GAP, 0.8 * size.width / len(numbers))
        for place, number in enumerate(numbers):
            shift = (place - (len(numbers) - 1) / 2) * gap
            found[number] = (x + shift, y + side * size.height)
    return [found[number] for number in range(len(ends))]

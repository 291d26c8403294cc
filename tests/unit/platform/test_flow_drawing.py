"""The drawing of a flow: all that the flow holds, and nothing over anything else."""

import re
from itertools import combinations, pairwise
from typing import NamedTuple
from xml.etree import ElementTree as ET

import msgspec
import pytest

from isthmus.platform.catalogue import Entry
from isthmus.platform.flow import END, Flow
from isthmus.platform.flow_check import flow_of
from isthmus.platform.flow_drawing import CHAR, START, USER, svg
from tests.support.session_client import FLOWS, STOCK

SVG = "{http://www.w3.org/2000/svg}"
LOOP = """
version: v1
environment: ambient
flow: {entry_point: "a/b"}
components:
  - {name: "a/b", type: DeterministicStepComponent, tool_name: list_dir,
     inputs: [{from: ".", as: directory, literal: true}]}
routers:
  - from: "a/b"
    condition:
      input: "context:a/b.execution_result"
      routes: {"<&\\u0001>": "a/b", "\\"'": "a/b", "": end, default_route: abort}
"""


class Box(NamedTuple):
    """A rectangle: its left upper corner, width and height."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: "Box") -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


def drawn(flow: Flow, title: str = "a flow") -> ET.Element:
    return ET.fromstring(svg(flow, title))  # noqa: S314 - what we made ourselves


def boxes(root: ET.Element) -> dict[str, Box]:
    found: dict[str, Box] = {}
    for group in root.iter(f"{SVG}g"):
        (rect,) = group.iter(f"{SVG}rect")
        sides = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        found[group.attrib["data-name"]] = Box(*sides)
    return found


def ways(root: ET.Element) -> dict[tuple[str, str], str]:
    return {
        (path.attrib["data-from"], path.attrib["data-to"]): path.attrib.get("data-label", "")
        for path in root.iter(f"{SVG}path")
        if "data-from" in path.attrib
    }


def labels(root: ET.Element) -> list[Box]:
    return [
        Box(float(text.attrib["x"]) - width / 2, float(text.attrib["y"]) - 12, width, 12)
        for text in root.iter(f"{SVG}text")
        if text.attrib["class"] == "label"
        for width in [len("".join(text.itertext())) * CHAR]
    ]


def expected(flow: Flow) -> set[tuple[str, str]]:
    found = {(START, flow.entry)} | {(above, name) for name, above in flow.supervisors.items()}
    if flow.talks:
        found |= {(flow.entry, USER), (USER, flow.entry)}
    for name, route in flow.routes.items():
        found |= {(name, target) for target in route.to.values()}
    return found


@pytest.mark.parametrize(
    "entry", FLOWS.entries, ids=lambda entry: f"{entry.name}-{entry.schema}-{entry.version}"
)
def test_every_part_and_every_way_of_a_flow_is_drawn(entry: Entry) -> None:
    flow, root = entry.flow, drawn(entry.flow)
    wanted = expected(flow)
    assert set(ways(root)) == wanted
    assert set(boxes(root)) == {name for way in wanted for name in way}
    places = [*boxes(root).values(), *labels(root)]
    assert [(one, other) for one, other in combinations(places, 2) if one.meets(other)] == []
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for box in places:
        assert box.x >= 0 <= box.y
        assert box.x + box.width <= width
        assert box.y + box.height <= height


@pytest.mark.parametrize("name", ["fix_pipeline", "resolve_sast_vulnerability"])
def test_no_long_way_cuts_a_box(name: str) -> None:
    root = drawn(next(entry.flow for entry in FLOWS.entries if entry.name == name))
    found = boxes(root)
    for path in root.iter(f"{SVG}path"):
        ends = {path.attrib.get("data-from"), path.attrib.get("data-to")}
        numbers = [float(one) for one in re.findall(r"-?\d+\.\d", path.attrib["d"])]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))[::3]
        for (x, y), (to_x, to_y) in pairwise(points):
            upright = Box(min(x, to_x), min(y, to_y), abs(x - to_x) or 0.1, abs(y - to_y))
            cut = [box for name, box in found.items() if name not in ends and box.meets(upright)]
            assert cut == []


def test_texts_stay_texts() -> None:
    flow = flow_of(msgspec.yaml.decode(LOOP), "loop", STOCK)
    text = svg(flow, "</title><script>alert(1)</script>\0")
    root = ET.fromstring(text)  # noqa: S314 - what we made ourselves
    assert "<script" not in text
    assert ways(root)[("a/b", "a/b")] == "<&\ufffd>, \"'"
    assert ways(root)[("a/b", END)] == '""'
    (title,) = root.findall(f"{SVG}title")
    assert title.text == "</title><script>alert(1)</script>\ufffd"


def test_a_drawing_needs_nothing_else() -> None:
    for entry in FLOWS.entries:
        text = svg(entry.flow, entry.name)
        assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]
        assert not re.search(r"href|@import|url\((?!#)", text)


def test_a_long_label_is_cut_and_told_whole() -> None:
    values = ", ".join(f'"value_number_{n}": "a/b"' for n in range(20))
    long = LOOP.replace('"<&\\u0001>": "a/b"', values)
    flow = flow_of(msgspec.yaml.decode(long), "long", STOCK)
    (label,) = [
        text
        for text in drawn(flow).iter(f"{SVG}text")
        if text.attrib["class"] == "label" and "value_number" in (list(text.itertext())[-1])
    ]
    (whole,) = label.iter(f"{SVG}title")
    assert "value_number_19" in (whole.text or "")
    assert len(list(label.itertext())[-1]) < 60

"""The dashboards are what Grafana reads: a strict reading of the parts of its model that we use."""

from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from msgspec import Struct

from tests.deploy.prometheus import FOLDER

BOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
WIDTH = 24
UNITS = {"short", "none", "s", "bytes", "percentunit", "reqps", "currencyUSD"}
LAST_BEFORE_11 = 39
"""Version of the model that Grafana 10 and every later one read."""


class Strict(Struct, forbid_unknown_fields=True, rename="camel"):
    """Fields as Grafana spells them; others are mistakes."""


class Place(Strict):
    x: int
    y: int
    w: int
    h: int

    def cells(self) -> set[tuple[int, int]]:
        columns, rows = range(self.x, self.x + self.w), range(self.y, self.y + self.h)
        return {(column, row) for column in columns for row in rows}


class Source(Strict):
    type: Literal["prometheus"]
    uid: Literal["${datasource}"]


class Target(Strict):
    ref_id: str
    datasource: Source
    editor_mode: Literal["code"]
    expr: str
    legend_format: str
    range: bool
    instant: bool
    format: Literal["table"] | None = None


class Fields(Strict):
    defaults: dict[str, Any]
    overrides: list[object]


class Panel(Strict):
    id: int
    type: Literal["row", "timeseries", "stat", "state-timeline", "table"]
    title: str
    grid_pos: Place
    description: str = ""
    collapsed: bool = False
    panels: list[object] = []
    datasource: Source | None = None
    field_config: Fields | None = None
    options: dict[str, Any] = {}
    targets: list[Target] = []


class Variable(Strict):
    name: str
    label: str
    type: Literal["datasource", "query"]
    query: str | dict[str, str]
    current: dict[str, str]
    options: list[object]
    regex: str
    refresh: int
    multi: bool
    include_all: bool
    hide: int
    skip_url_sync: bool
    datasource: Source | None = None
    definition: str = ""
    sort: int = 0
    all_value: str = ""


class Listed(Strict):
    list: list[Variable]


class Span(Strict):
    from_: str = msgspec.field(name="from")
    to: str


class Board(Strict):
    uid: str
    title: str
    description: str
    tags: list[str]
    schema_version: int
    version: int
    editable: bool
    graph_tooltip: int
    refresh: str
    timezone: str
    time: Span
    timepicker: dict[str, object]
    week_start: str
    fiscal_year_start_month: int
    live_now: bool
    annotations: dict[str, list[object]]
    links: list[dict[str, object]]
    templating: Listed
    panels: list[Panel]


@pytest.fixture(name="board", params=BOARDS, ids=lambda path: path.stem)
def _board(request: pytest.FixtureRequest) -> Board:
    path: Path = request.param
    return msgspec.json.decode(path.read_bytes(), type=Board)


def test_there_is_one_for_each_listener() -> None:
    assert [path.stem for path in BOARDS] == ["gateway", "sessions"]


def test_it_can_be_imported(board: Board) -> None:
    assert board.schema_version == LAST_BEFORE_11
    assert board.uid.startswith("isthmus-")
    assert [one.name for one in board.templating.list] == ["datasource", "job", "instance"]
    ids = [panel.id for panel in board.panels]
    assert sorted(ids) == list(range(1, len(ids) + 1))
    titles = [panel.title for panel in board.panels]
    assert len(set(titles)) == len(titles)


def test_panels_stand_beside_each_other(board: Board) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board.panels:
        cells = panel.grid_pos.cells()
        assert not cells & taken, panel.title
        assert panel.grid_pos.x + panel.grid_pos.w <= WIDTH
        taken |= cells


def test_every_panel_asks_and_says_in_which_unit(board: Board) -> None:
    for panel in board.panels:
        if panel.type == "row":
            assert not panel.targets
            continue
        assert panel.targets, panel.title
        assert panel.field_config is not None
        assert panel.field_config.defaults["unit"] in UNITS
        references = [target.ref_id for target in panel.targets]
        assert len(set(references)) == len(references)
        for target in panel.targets:
            assert target.range != target.instant


def test_every_query_is_of_the_jobs_and_instances_that_are_chosen(board: Board) -> None:
    for panel in board.panels:
        for target in panel.targets:
            # What the rules record has no instance, and the money is one sum.
            chosen = '$job"' in target.expr or "isthmus:" in target.expr
            assert chosen, target.expr

"""The example of usage in docs/guide/telemetry.md, as a person would follow it."""

import re
import time
from pathlib import Path

from tests.support.guide import blocks
from tests.support.process import running_server

WAIT_S = 60.0
TIMES = ("P50", "P95")


def block(kind: str) -> str:
    """The first block of this kind in the section."""
    return blocks("telemetry", kind, "Usage")[0]


def cells(table: str) -> list[list[str]]:
    """Without the columns of time; their headings have two words."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()]
    timed = {index for index, name in enumerate(rows[0]) if name.startswith(TIMES)}
    return [[each for index, each in enumerate(row) if index not in timed] for row in rows]


def test_the_table_is_the_one_that_the_page_shows(tmp_path: Path) -> None:
    with running_server(tmp_path, {"ISTHMUS_USAGE__FLUSH_S": "0.1"}) as server:
        done = server.script(block("sh"), WAIT_S)
        assert (done.returncode, done.stderr) == (0, "")
        until_s = time.monotonic() + WAIT_S
        while True:
            told = server.command("usage", "--since", "24h", "--by", "language,feature").stdout
            if cells(told) == cells(block("text")):
                break
            assert time.monotonic() < until_s, told

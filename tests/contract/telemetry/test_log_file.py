"""The log as a file, on a running loop."""

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus.adapters.telemetry.log import BACKLOG_LIMIT_BYTES, Writer, open_log
from isthmus.adapters.telemetry.pipeline import PAUSE_S, open_telemetry
from isthmus.core.events import Noted
from isthmus.settings import LoggingSettings, SettingsError
from tests.unit.adapters.telemetry.facts import SECRET, SERVED


def messages(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line)["message"] for line in text.splitlines()]


async def test_a_fact_is_in_the_file_within_200_ms_and_all_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.jsonl"
    settings = LoggingSettings(file=path)
    async with open_log(settings) as log, open_telemetry(log.take) as telemetry:
        telemetry.emit(Noted("error", "first"))
        await asyncio.sleep(0.2)
        assert messages(path) == ["first"]
        logging.getLogger("some.library").warning("careful, %s", SECRET)
        logging.getLogger("some.library").info("not this")
        telemetry.emit(SERVED)
        telemetry.emit(Noted("info", "last"))
    assert messages(path)[1] == "careful, [REDACTED]"
    assert messages(path)[3:] == ["last"]
    assert path.stat().st_mode & 0o007 == 0
    assert PAUSE_S <= 0.1


def test_a_rotated_file_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = Writer(path)
    writer.start()
    writer.write(b"one\n")
    until(lambda: path.read_bytes() == b"one\n")
    path.rename(tmp_path / "log.1")
    writer.write(b"two\n")
    writer.close()
    assert path.read_bytes() == b"two\n"
    assert (tmp_path / "log.1").read_bytes() == b"one\n"


def test_a_reader_that_stalls_costs_lines_and_no_time(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = Writer(path)
    writer.start()
    block = b"x" * (BACKLOG_LIMIT_BYTES // 4)
    assert [writer.write(block) for _ in range(6)] == [0] * 6
    os.set_blocking(reader, True)
    read: list[int] = []

    def drain() -> None:
        while data := os.read(reader, 1 << 20):
            read.append(len(data))

    drained = threading.Thread(target=drain)
    drained.start()
    lost: list[int] = []

    def told() -> bool:
        lost.append(writer.write(b"x"))
        return lost[-1] > 0

    until(told)
    writer.close()
    drained.join()
    os.close(reader)
    assert lost[-1] >= 2
    # Whole blocks are lost, never a part of one.
    assert sum(read) == 4 * len(block) + len(lost) - (lost[-1] - 2)


async def test_a_file_that_cannot_be_written_names_its_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^logging\.file: cannot write "):
        async with open_log(LoggingSettings(file=tmp_path)):
            pass


def until(true: Callable[[], bool], limit_s: float = 5.0) -> None:
    end_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.01)

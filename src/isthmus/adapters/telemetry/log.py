"""The log: readings of facts as JSON lines or text, written by a thread to stderr or a file."""

import asyncio
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from isthmus.adapters.telemetry.pipeline import Told
from isthmus.adapters.telemetry.reading import Reading, readers, stamp
from isthmus.adapters.telemetry.trail import ADDED, Trail
from isthmus.core.events import HttpServed
from isthmus.settings import LoggingSettings, SettingsError

BACKLOG_LIMIT_BYTES = 16 * 1024 * 1024
TEXT_LIMIT_CHARS = 8_192
TRACE_LIMIT_CHARS = 32_768
CLOSE_LIMIT_S = 5.0
GATHER_S = 0.02
_NAMES = {level: logging.getLevelName(level).lower() for level in (10, 20, 30, 40, 50)}
_NONE: dict[str, object] = {}
_ENCODER = msgspec.json.Encoder(enc_hook=str)


@asynccontextmanager
async def open_log(settings: LoggingSettings, *, tracked: bool = False) -> "AsyncIterator[Log]":
    """The log, which is written as set. Raises SettingsError when the file cannot be written.

    `tracked`: product events are sent, and lines of the access log name them.
    """
    writer = await asyncio.to_thread(Writer, settings.file)
    writer.start()
    try:
        yield Log(settings, writer.write, tracked=tracked)
    finally:
        await asyncio.to_thread(writer.close)


class Writer(threading.Thread):
    """Writes blocks of bytes in order. A reader that stalls costs lines, never a request's time."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(name="log", daemon=True)
        self._path = path
        self._blocks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # Each of the two is written by one thread alone.
        self._given_bytes = 0
        self._written_bytes = 0
        self._lost = 0
        self._inode = 0
        self._descriptor = self._open()

    def write(self, block: bytes) -> int:
        """Take whole lines. Once it can take lines again, returns how many blocks were lost."""
        if self._given_bytes - self._written_bytes + len(block) > BACKLOG_LIMIT_BYTES:
            self._lost += 1
            return 0
        self._given_bytes += len(block)
        self._blocks.put(block)
        lost, self._lost = self._lost, 0
        return lost

    def close(self) -> None:
        """Write what is left, for at most CLOSE_LIMIT_S."""
        self._blocks.put(None)
        self.join(CLOSE_LIMIT_S)
        if self._path is not None and not self.is_alive():
            os.close(self._descriptor)

    def run(self) -> None:
        """The thread's work."""
        ended = False
        while not ended:
            blocks = [self._blocks.get()]
            if blocks[0] is not None:
                # Each time this thread wakes, the loop gives way to it: seldom, and for many lines.
                time.sleep(GATHER_S)
                blocks += [self._blocks.get() for _ in range(self._blocks.qsize())]
            ended = None in blocks
            lines = b"".join([block for block in blocks if block is not None])
            if lines:
                self._reopen_when_moved()
                self._put(lines)
                self._written_bytes += len(lines)

    def _put(self, block: bytes) -> None:
        left = memoryview(block)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                # Nobody can be told that the log is gone: a full disk must not stop the server.
                return

    def _open(self) -> int:
        if self._path is None:
            return sys.stderr.fileno()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            descriptor = os.open(self._path, flags, 0o640)
        except OSError as error:
            reason = error.strerror
            raise SettingsError(f"logging.file: cannot write {self._path}: {reason}") from error
        self._inode = os.fstat(descriptor).st_ino
        return descriptor

    def _reopen_when_moved(self) -> None:
        """Follow log rotation: begin a new file when ours was renamed or removed."""
        if self._path is None:
            return
        try:
            if self._path.stat().st_ino == self._inode:
                return
        except FileNotFoundError:
            pass
        except OSError:
            return
        old = self._descriptor
        try:
            self._descriptor = self._open()
        except SettingsError:
            return
        os.close(old)


class Log:
    """Turns batches into lines and hands them to `write`, which returns how many were lost.

    `take` is the pipeline's sink.
    """

    def __init__(
        self,
        settings: LoggingSettings,
        write: Callable[[bytes], int],
        *,
        tracked: bool = False,
    ) -> None:
        self._trail = Trail(tracked=tracked)
        self._write = write
        self.adopt(settings)

    def adopt(self, settings: LoggingSettings) -> None:
        """Write by these settings from now on, but into the same file."""
        self._level = getattr(logging, settings.level)
        self._readers = readers(self._level, access=settings.access)
        self._line = _json_line if settings.json_lines else _text_line

    def take(self, batch: Sequence[Told]) -> None:
        """Write the facts of a batch that a log should hold."""
        lines: list[bytes] = []
        read = self._readers
        for at_s, request_id, fact in batch:
            kind = type(fact)
            if kind in ADDED:
                self._trail.add(request_id, fact)
            if kind in read:
                reading = read[kind](fact)
                if kind is HttpServed and reading is not None:
                    self._trail.complete(request_id, reading.fields)
                if reading is not None and reading.level >= self._level:
                    lines.append(self._line(at_s, request_id, reading))
        if lines:
            lost = self._write(b"".join(lines))
            if lost:
                text = f"{lost} blocks of log lines were lost: nobody read them in time"
                note = Reading(logging.ERROR, "telemetry", text, {})
                self._write(self._line(batch[-1][0], batch[-1][1], note))


def _json_line(at_s: float, request_id: str, reading: Reading) -> bytes:
    line: dict[str, object] = {
        reading.message_key: reading.message,
        "logger": reading.logger,
        "level": _NAMES[reading.level],
        "timestamp": stamp(at_s),
        "type": "mlops",
        "stage": "main",
        **({"correlation_id": request_id} if request_id else _NONE),
        **reading.fields,
    }
    try:
        encoded = _ENCODER.encode(line)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError):
        # Half a character in a hostile path, say: worse to read, but not lost.
        line = {name: ascii(value)[:TEXT_LIMIT_CHARS] for name, value in line.items()}
        encoded = _ENCODER.encode(line)
    if len(encoded) > TEXT_LIMIT_CHARS:
        cut = {name: _cut(name, value) for name, value in line.items()}
        encoded = _ENCODER.encode(cut)
    return encoded + b"\n"


def _text_line(at_s: float, request_id: str, reading: Reading) -> bytes:  # noqa: ARG001 - one shape
    parts = [f"{stamp(at_s)} {_NAMES[reading.level]:<8} {_plain(reading.message)}"]
    for name, value in reading.fields.items():
        if value not in ("", None) and name != "exception_backtrace":
            parts.append(f"{name}={_plain(str(value))}")
    trace = reading.fields.get("exception_backtrace")
    text = " ".join(parts)
    if trace:
        text += "\n  " + "\n  ".join(_plain(line) for line in str(trace).splitlines())
    return text.encode(errors="backslashreplace") + b"\n"


def _cut(name: str, value: object) -> object:
    limit = TRACE_LIMIT_CHARS if name == "exception_backtrace" else TEXT_LIMIT_CHARS
    if isinstance(value, str):
        return value if len(value) <= limit else value[:limit] + "..."
    if value is None or isinstance(value, int | float):
        return value
    text = str(value)
    return value if len(text) <= limit else text[:limit] + "..."


def _plain(text: str) -> str:
    """One line of text: nobody may forge a second one, or move a terminal's cursor."""
    text = text[:TEXT_LIMIT_CHARS]
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")

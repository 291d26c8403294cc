"""The terminal, or the log: where the conversation and our own notices are written."""

import asyncio
import threading
from collections.abc import Sequence
from typing import TextIO

from isthmus.executor.transcript import Shown, printable

_DIM, _RED, _OFF = "\x1b[2m", "\x1b[31m", "\x1b[0m"
ANSWER_CHARS = 4000


class Screen:
    """Conversation to `out`, notices to `err`; colours only where `out` is a terminal."""

    def __init__(self, out: TextIO, err: TextIO, source: TextIO) -> None:
        self._out = out
        self._err = err
        self._source = source
        self._colours = out.isatty()
        self._mid_line = False

    @property
    def interactive(self) -> bool:
        """Whether somebody can be asked."""
        return self._source.isatty()

    def show(self, lines: Sequence[Shown]) -> None:
        """Write what is new of the conversation."""
        for line in lines:
            if not line.goes_on:
                self.end_line()
            if line.kind == "text":
                self._out.write(line.text)
                self._mid_line = not line.text.endswith("\n")
            else:
                self._out.write(self._dressed(line) + "\n")
                self._mid_line = False
        self._out.flush()

    def notice(self, text: str) -> None:
        """Write a line of our own."""
        self.end_line()
        self._out.flush()
        self._err.write(printable(text) + "\n")
        self._err.flush()

    def end_line(self) -> None:
        """End a text that stopped in the middle of a line."""
        if self._mid_line:
            self._out.write("\n")
            self._out.flush()
            self._mid_line = False

    async def ask(self, question: str) -> str | None:
        """One line from the person; None at the end of input.

        The read happens in a daemon thread, so that an interrupt need not wait for it.
        """
        self.end_line()
        # Where the conversation goes to a file, the question must not.
        seen = self._out if self._out.isatty() else self._err
        seen.write(question)
        seen.flush()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()

        def read() -> None:
            try:
                line = self._source.readline(ANSWER_CHARS)
            except (OSError, ValueError):
                line = ""
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, answer, line)

        threading.Thread(target=read, daemon=True).start()
        line = await answer
        return line.strip() if line else None

    def _dressed(self, line: Shown) -> str:
        mark = "x " if line.kind == "failure" else "- "
        if not self._colours:
            return mark + line.text
        return f"{_RED if line.kind == 'failure' else _DIM}{mark}{line.text}{_OFF}"


def _settle(answer: "asyncio.Future[str]", line: str) -> None:
    if not answer.done():
        answer.set_result(line)

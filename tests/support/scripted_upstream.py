"""A model vendor on a real port that does what the prompt names: Anthropic's and OpenAI's wires.

A script is a list of steps. The last message of the user that holds its cue chooses the script, and
the tool results since then tell how far it has come: a call that is repeated gets the same answer.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias, cast

from tests.support.upstream_wires import WIRES, Call, Told

KEY = "key-of-the-scripted-upstream"
Step: TypeAlias = str | Sequence[Call]
"""What to say, and then the turn ends; or tools to call at once."""
Script: TypeAlias = Sequence[Step]


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def model(self) -> str:
        return str(self.body.get("model"))


def _at_once(_: str) -> None:
    """No reason to wait."""


@dataclass
class Upstream:
    """A vendor; `scripts` by cue. Without one in the prompt it tells how many messages it got."""

    scripts: dict[str, Script]
    port: int = 0
    pause_s: float = 0.0
    """Wait between the pieces of an answer."""
    before: Callable[[str], None] = _at_once
    """Called with each piece of an answer before it is sent."""
    asked: list[Asked] = field(default_factory=list[Asked])
    left: int = 0
    """Answers that the client did not wait for."""

    def settings(self) -> dict[str, str]:
        """What the server needs in its environment to call this vendor, under both wires."""
        root = f"http://127.0.0.1:{self.port}"
        return {
            "ISTHMUS_PROVIDERS__ANTHROPIC__API_KEY": KEY,
            "ISTHMUS_PROVIDERS__ANTHROPIC__BASE_URL": root,
            "ISTHMUS_PROVIDERS__OPENAI__API_KEY": KEY,
            "ISTHMUS_PROVIDERS__OPENAI__BASE_URL": f"{root}/v1",
        }

    def was_left(self, times: int) -> bool:
        """Whether so many answers were given up by their reader, soon."""
        return _soon(lambda: self.left == times)

    def was_asked(self, times: int) -> bool:
        """Whether so many requests came, soon."""
        return _soon(lambda: len(self.asked) == times)

    def step(self, told: Iterable[Told], *, tools: bool) -> Step:
        """What comes next in the conversation; nobody without tools is asked to call one."""
        script, results, count = None, 0, 0
        for one in told:
            count += 1
            if one.role == "tool":
                results += 1
            elif one.role == "user" and (found := self._named(one.text)) is not None:
                script, results = found, 0
        if script is None:
            return f"I was told {count} things."
        if not tools:
            return next(step for step in reversed(script) if isinstance(step, str))
        for step in script:
            if isinstance(step, str) or results < len(step):
                return step
            results -= len(step)
        raise AssertionError("a script ends with what is said")

    def _named(self, text: str) -> Script | None:
        places = {text.rfind(cue): script for cue, script in self.scripts.items()}
        last = max(places, default=-1)
        return places[last] if last >= 0 else None


def _soon(happened: Callable[[], bool], limit_s: float = 60.0) -> bool:
    until = time.monotonic() + limit_s
    while not happened() and time.monotonic() < until:
        time.sleep(0.02)
    return happened()


@contextmanager
def scripted_upstream(scripts: Mapping[str, Script]) -> Iterator[Upstream]:
    """The vendor on a free port for as long as the context lasts."""
    upstream = Upstream(dict(scripts))

    class Handler(_Handler):
        vendor = upstream

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        upstream.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield upstream
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    vendor: Upstream

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Say nothing."""

    def do_POST(self) -> None:
        """One call of a model."""
        body = cast("dict[str, Any]", json.loads(self._body()))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.vendor.asked.append(Asked(self.path, headers, body))
        wire = WIRES.get(self.path.partition("?")[0])
        if wire is None:
            self._plain(404, {"error": {"type": "not_found_error", "message": self.path}})
        elif KEY not in {headers.get("x-api-key"), headers.get("authorization", "")[7:]}:
            self._plain(401, {"error": {"type": "authentication_error", "message": "invalid key"}})
        else:
            step = self.vendor.step(wire.told(body), tools=bool(body.get("tools")))
            calls = () if isinstance(step, str) else step
            said = step if isinstance(step, str) else "One moment."
            if body.get("stream"):
                self._stream(wire.events(body, said, calls))
            else:
                self._plain(200, wire.whole(body, said, calls))

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _plain(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, events: Iterable[str]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for event in events:
                self.vendor.before(event)
                data = event.encode()
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                time.sleep(self.vendor.pause_s)
            self.wfile.write(b"0\r\n\r\n")
        except ConnectionError:
            self.vendor.left += 1
            self.close_connection = True

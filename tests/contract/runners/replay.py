"""Far ends of runners on a real port: the little of a cluster and of an instance that they ask."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class FarEnd:
    """What was asked and what exists; `refuse` are answers by method and path pattern."""

    things: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    asked: list[tuple[str, str, Any, dict[str, str]]] = field(
        default_factory=list[tuple[str, str, Any, dict[str, str]]]
    )
    refuse: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    url: str = ""

    def of(self, method: str, part: str) -> list[Any]:
        return [body for did, path, body, _ in self.asked if did == method and part in path]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        for (refused, pattern), status in self.refuse.items():
            if method == refused and re.search(pattern, path):
                return status, {"message": "no"}
        if path.startswith("/api/v4/"):
            return self._gitlab(method, path.removeprefix("/api/v4/"), body)
        return self._cluster(method, path, body)

    def _cluster(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if method == "POST":
            name = body["metadata"]["name"]
            self.things[f"{path}/{name}"] = body
            return 201, body | {"metadata": {"name": name, "uid": f"uid-{name}"}}
        if path not in self.things:
            return 404, {"kind": "Status"}
        if method == "DELETE":
            del self.things[path]
        return 200, {"kind": "Status"}

    def _gitlab(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if method == "GET":
            found = [v for p, v in self.things.items() if p.startswith(path + "/")]
            return 200, found
        if path.endswith("/variables"):
            self.things[f"{path}/{body['key']}"] = body
            return 201, body
        if path.endswith("/pipeline"):
            self.things["pipelines/7"] = body
            return 201, {"id": 7, "web_url": f"{self.url}/pipelines/7"}
        if path.endswith("/cancel"):
            known = path.endswith("/pipelines/7/cancel")
            return (201, {"id": 7}) if known else (404, {"message": "404"})
        self.things.pop(path, None)
        return 204, None


class _Handler(BaseHTTPRequestHandler):
    far: FarEnd
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(size)
        body: Any = json.loads(text) if text else None
        path = unquote(urlsplit(self.path).path)
        self.far.asked.append((self.command, unquote(self.path), body, dict(self.headers.items())))
        status, reply = self.far.answer(self.command, path, body)
        data = b"" if reply is None else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - names of the library

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        del format, args


@contextmanager
def far_end() -> Iterator[FarEnd]:
    """Serve until the end of the block."""
    far = FarEnd()
    handler = type("Handler", (_Handler,), {"far": far})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    far.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield far
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""Real servers that share a store of limits, and clients that ask for more than there is.

Run by `python -m bench.limits --servers`.
"""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.machine import free_port, wait_for_http
from bench.plan import Notes, Plan
from bench.server import authenticated, mint
from bench.upstream import mock_upstream

COMPLETION = (
    b'{"prompt_version":1,"current_file":{"file_name":"a.py","content_above_cursor":"'
    b'def add(a, b):\\n    ","content_below_cursor":"\\n"}}'
)
MESSAGE = (
    b'{"model":"claude-sonnet-4-6","max_tokens":64,'
    b'"messages":[{"role":"user","content":"Is all well?"}]}'
)
MESSAGE_TOKENS = 370
"""What the mock says that a message took."""
NAP_S = 0.2
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_OWN = re.compile(rb"\r\nserver-timing: isthmus;dur=([\d.]+)", re.IGNORECASE)


def rules(requests: int, tokens: int, window_s: float) -> list[dict[str, object]]:
    """Completions are counted, and the tokens of messages."""
    window: dict[str, object] = {"window": window_s}
    completions = {"name": "calls", "amount": requests, "where": {"feature": "code_completions"}}
    messages = {"name": "tokens", "amount": tokens, "where": {"provider": "anthropic"}}
    return [window | completions, window | messages | {"counts": "tokens"}]


@contextmanager
def replicas(folder: Path, count: int, settings: dict[str, object]) -> Iterator["list[Replica]"]:
    """Servers with one key and one store, in front of a mock upstream."""
    with ExitStack() as stack:
        base = f"http://127.0.0.1:{stack.enter_context(mock_upstream(folder))}"
        shared = {
            "ISTHMUS_DATA_DIR": str(folder / "var"),
            "ISTHMUS_TRANSPORTS": "http",
            "ISTHMUS_LOGGING__FILE": str(folder / "isthmus.log"),
            "ISTHMUS_PROVIDERS__ANTHROPIC__BASE_URL": base,
            "ISTHMUS_PROVIDERS__ANTHROPIC__API_KEY": "k",
            "ISTHMUS_PROVIDERS__OPENAI__BASE_URL": f"{base}/v1",
            "ISTHMUS_PROVIDERS__OPENAI__API_KEY": "k",
            "ISTHMUS_PROVIDERS__OPENAI__COMPLETION_MODEL": "m",
            "ISTHMUS_MODELS__DEFAULTS": '{"code_completions": ["openai_compatible"]}',
        }
        for name, value in settings.items():
            text = value if isinstance(value, str) else json.dumps(value)
            shared[f"ISTHMUS_LIMITS__{name.upper()}"] = text
        program = str(Path(sys.executable).with_name("isthmus"))
        headers = authenticated(mint(program, dict(os.environ) | shared))
        found = [Replica(free_port(), headers) for _ in range(count)]
        for one in found:
            ports = {
                "ISTHMUS_HTTP__PORT": str(one.port),
                "ISTHMUS_HTTP__METRICS_PORT": str(free_port()),
            }
            process = subprocess.Popen(
                [program, "server"],
                env=dict(os.environ) | shared | ports,
                stdout=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        for one in found:
            wait_for_http(f"http://127.0.0.1:{one.port}/monitoring/ready")
        yield found


class Replica:
    """One server as its clients see it."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self.port = port
        self.notes = Notes()
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._completion = _request("/v2/code/completions", lines, COMPLETION)
        self._message = _request("/v1/proxy/anthropic/v1/messages", lines, MESSAGE)

    async def client(self, plan: Plan, *, messages: bool) -> None:
        """Ask until the plan ends, as fast as answers come or at the plan's pace."""
        asked = self._message if messages else self._completion
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.sleep(max(0.0, plan.start_s - time.monotonic()))
        while time.monotonic() < plan.end_s:
            began_s = time.monotonic()
            writer.write(asked)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            await reader.readexactly(int(length[1]) if length else 0)
            ended_s = time.monotonic()
            self._note(head, began_s, ended_s, messages=messages)
            if plan.pace_s:
                await asyncio.sleep(random.expovariate(1 / plan.pace_s))
            elif head[9:12] == b"429":
                await asyncio.sleep(random.uniform(0.5, 1) * NAP_S)  # noqa: S311
        writer.close()

    def _note(self, head: bytes, began_s: float, ended_s: float, *, messages: bool) -> None:
        notes, own = self.notes, _OWN.search(head)
        notes.waits_s.append(float(own[1]) / 1000 if own else 0.0)
        notes.took_s.append(ended_s - began_s)
        match head[9:12]:
            case b"429":
                notes.refused += 1
            case b"200" if messages:
                notes.tokens.append((began_s, ended_s, MESSAGE_TOKENS))
            case b"200":
                notes.requests.append((began_s, ended_s, 1))
            case status:
                raise RuntimeError(f"a server answered {status!r}")


def _request(path: str, lines: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\n{lines}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def drive(found: list[Replica], plan: Plan) -> None:
    """All clients of all servers."""
    async with asyncio.TaskGroup() as group:
        for one in found:
            for number in range(plan.clients):
                group.create_task(one.client(plan, messages=bool(number % 2)))

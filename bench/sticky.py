"""Whether sessions of many turns find their provider's prompt cache, with stickiness and without.

Each session is 20 turns, each turn a new WebSocket of a client that names no workflow in its
query; the server is restarted every five turns. A turn is cacheable when the one before it had a
prompt that providers keep (1,024 tokens); it hits when at least that prompt was read from a cache.
"""

import asyncio
import json
import secrets
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import connect

from bench.cached_upstream import LEAST_TOKENS
from bench.machine import CLIENT_CORE, free_port, wait_for_port
from bench.report import Sticky
from bench.server import Server, command, isthmus
from isthmus.auth.issue import new_private_key_pem

SESSIONS = 12
TURNS = 20
RESTART_EVERY = 5
FEATURE = "duo_agent_platform_agentic_chat"
DEFAULTS = ("claude_sonnet_4_6", "claude_sonnet_4_6_vertex", "gpt_5_2")
FLAG = "duo_workflow_provider_stickiness"
GOAL = "Go on from where you are, and say what you would do next and why. " * 6


@dataclass(frozen=True, slots=True)
class _Call:
    session: str
    provider: str
    tokens: int
    read: int


def measure(folder: Path) -> list[Sticky]:
    """Without the flag, then with it, each on a database of its own."""
    return [_measure(folder / name, on=name == "on") for name in ("off", "on")]


def _measure(folder: Path, *, on: bool) -> Sticky:
    folder.mkdir()
    log, port = folder / "calls.jsonl", free_port()
    driver = ["taskset", "-c", str(CLIENT_CORE), sys.executable, "-m", "bench.cached_upstream"]
    upstream = subprocess.Popen([*driver, str(port), str(log)])
    try:
        wait_for_port(port)
        settings = _settings(folder, f"http://127.0.0.1:{port}")
        ids: dict[str, str] = {}
        token = ""
        for first in range(0, TURNS, RESTART_EVERY):
            with isthmus(folder, transports="http,grpc", extra=settings) as server:
                if not token:
                    token = command(folder, "tokens", "create", "--name", "bench")
                    command(folder, "flags", "set", FLAG, "on" if on else "off")
                turns = range(first, first + RESTART_EVERY)
                asyncio.run(_sessions(server, token, ids, turns))
    finally:
        upstream.terminate()
        upstream.wait(10)
    row = _counted("with the flag" if on else "without", log)
    print(row, flush=True)
    return row


def _settings(folder: Path, base: str) -> dict[str, str]:
    account = folder / "account.json"
    key = {
        "type": "service_account",
        "project_id": "bench",
        "private_key_id": "1",
        "private_key": new_private_key_pem().decode(),
        "client_email": "bench@bench.iam.gserviceaccount.com",
        "token_uri": f"{base}/token",
    }
    account.write_text(json.dumps(key), encoding="utf-8")
    return {
        "ISTHMUS_PROVIDERS__ANTHROPIC__BASE_URL": base,
        "ISTHMUS_PROVIDERS__ANTHROPIC__API_KEY": "k",
        "ISTHMUS_PROVIDERS__OPENAI__BASE_URL": base,
        "ISTHMUS_PROVIDERS__OPENAI__API_KEY": "k",
        "ISTHMUS_PROVIDERS__VERTEX__ENDPOINT": base,
        "ISTHMUS_PROVIDERS__VERTEX__PROJECT": "bench",
        "GOOGLE_APPLICATION_CREDENTIALS": str(account),
        "ISTHMUS_MODELS__DEFAULTS": json.dumps({FEATURE: DEFAULTS}),
    }


async def _sessions(server: Server, token: str, ids: dict[str, str], turns: range) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(SESSIONS):
            group.create_task(_session(server, token, ids, f"session-{number:04}", turns))


async def _session(
    server: Server, token: str, ids: dict[str, str], name: str, turns: range
) -> None:
    if name not in ids:
        ids[name] = await asyncio.to_thread(_create, server.port, token, name)
    for turn in turns:
        await _turn(server.port, token, ids[name], f"{name} turn {turn}. {GOAL}")


def _create(port: int, token: str, name: str) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v4/ai/duo_workflows/workflows",
        json.dumps({"goal": name, "workflow_definition": "chat"}).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - own URL
        return str(json.loads(reply.read())["id"])


async def _turn(port: int, token: str, workflow_id: str, goal: str) -> None:
    url = f"ws://127.0.0.1:{port}/api/v4/ai/duo_workflows/ws"
    headers = {"Authorization": f"Bearer {token}", "x-request-id": secrets.token_hex(8)}
    start: dict[str, object] = {
        "workflowID": workflow_id,
        "workflowDefinition": "chat",
        "goal": goal,
        "clientVersion": "1.0",
        "clientCapabilities": [],
    }
    status = ""
    async with connect(url, additional_headers=headers, max_size=8_388_608) as socket:
        await socket.send(json.dumps({"startRequest": start}))
        async for frame in socket:
            status = json.loads(frame).get("newCheckpoint", {}).get("status", status)
    if status != "INPUT_REQUIRED":
        raise SystemExit(f"bench: a turn ended {status or 'without a word'}")


def _counted(name: str, log: Path) -> Sticky:
    calls = [_Call(**json.loads(line)) for line in log.read_text("utf-8").splitlines()]
    cacheable, hits, read, tokens = 0, 0, 0, 0
    before: dict[str, _Call] = {}
    for call in calls:
        previous = before.get(call.session)
        before[call.session] = call
        tokens += call.tokens
        read += call.read
        if previous is not None and previous.tokens >= LEAST_TOKENS:
            cacheable += 1
            # OpenAI reads in steps of 128 tokens: the last, broken one is never kept.
            hits += call.read >= previous.tokens - 128
    return Sticky(name, len(before), cacheable, hits, read / max(1, tokens))

"""What a step of a session costs to store, and a session to load, on SQLite and on PostgreSQL.

A graph with a session's channels appends a message and an entry of the log a step, for a thousand
steps: a state of 1 MB at their end for what storing costs, of 5 MB for what loading does.
"""

import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from sqlalchemy import Connection, func, select
from sqlalchemy.sql import ColumnElement

from bench.machine import SERVER_CORE
from bench.records import POSTGRES
from bench.report import Stored
from isthmus.adapters.stores.checkpoints import SqlCheckpointStore
from isthmus.adapters.stores.database import Database, open_database, sqlite_url
from isthmus.adapters.stores.leases import SqlLeases
from isthmus.adapters.stores.tables import checkpoint_blobs, checkpoint_writes, checkpoints
from isthmus.app.collector import spare_the_collector
from isthmus.platform import entries
from isthmus.platform.engine.saver import Habits, Saver
from isthmus.platform.engine.state import EXECUTION, State
from isthmus.platform.turn import Written

STEPS = 1_000
SMALL, LARGE = 1_000, 5_000
"""Bytes that a step adds to the state."""
SESSIONS = 4
LAST = 250
"""Of each session, the steps at whose cost we look: there the state has its size."""
EARLY = slice(20, 220)
LOADS = 300
RUNNER = "bench"
WORDS = [f"word{n}" for n in range(5_000)]


def measure(folder: Path) -> list[Stored]:
    """One row a database; sessions run on the server's core."""
    rows: list[Stored] = []
    for name, url in (("SQLite", sqlite_url(folder / "steps.db")), ("PostgreSQL", POSTGRES)):
        command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "bench.checkpoints"]
        done = subprocess.run([*command, url], stdout=subprocess.PIPE, text=True, check=True)
        rows.append(Stored(name, *map(float, done.stdout.split())))
        print(rows[-1], flush=True)
    return rows


async def _figures(url: str) -> list[float]:
    async with open_database(url) as database:
        spare_the_collector(["grpc"])
        made: list[str] = []
        try:
            return await _measured(database, made)
        finally:
            for thread_id in made:
                await SqlCheckpointStore(database).delete(thread_id)
            await SqlLeases(database).leave(RUNNER)


async def _measured(database: Database, made: list[str]) -> list[float]:
    late: list[Written] = []
    early: list[Written] = []
    for _ in range(SESSIONS):
        made.append(str(uuid4()))
        written = await _session(database, made[-1], SMALL)
        late += written[-LAST:]
        early += written[EARLY]
    put_ms = [each.duration_s * 1_000 for each in late]
    stored_bytes = await _stored_bytes(database, made[-1])
    state_bytes = await _state_bytes(database, made[-1])
    made.append(str(uuid4()))
    await _session(database, made[-1], LARGE)
    load_ms = [await _load_ms(database, made[-1]) for _ in range(LOADS)]
    return [
        *_middle_and_end(put_ms),
        *_middle_and_end(load_ms),
        statistics.median(each.size_bytes for each in early),
        statistics.median(each.size_bytes for each in late),
        stored_bytes / state_bytes,
    ]


async def _session(database: Database, thread_id: str, step_bytes: int) -> list[Written]:
    """Run a session's steps; what storing each of them cost."""
    written: list[Written] = []

    def told(_: Mapping[str, Any], each: Written) -> None:
        written.append(each)

    lease = await SqlLeases(database).take(thread_id, RUNNER)
    habits = Habits(continues=True, pauses_only=True, lease=lease)
    saver = Saver(SqlCheckpointStore(database), habits, told)
    dice = random.Random(step_bytes)  # noqa: S311 - load
    at = datetime.now(UTC).isoformat()

    async def step(state: State) -> State:
        del state
        text = " ".join(dice.choices(WORDS, k=step_bytes // 20))
        call = entries.Called(str(uuid4()), "read_file", {"file_path": "src/a.py"}, "Read a.py")
        return {
            "status": EXECUTION,
            "conversation_history": {"agent": [{"role": "tool", "id": call.id, "text": text}]},
            "ui_chat_log": [entries.tool(call, text, at, "agent", "success")],
        }

    async def further(_: State) -> str:
        return "step" if len(written) < STEPS else END

    graph = StateGraph(State)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", further, ["step", END])
    config = RunnableConfig(configurable={"thread_id": thread_id}, recursion_limit=STEPS + 10)
    begin: State = {"status": EXECUTION, "goal": "Read.", "plan": {"steps": []}}
    compiled = graph.compile(checkpointer=saver)
    async for _ in compiled.astream(begin, config, stream_mode="values", durability="sync"):
        pass
    return written


async def _load_ms(database: Database, thread_id: str) -> float:
    """As another server would go on with it."""
    saver = Saver(SqlCheckpointStore(database), Habits(continues=True, pauses_only=True))
    begin_s = time.perf_counter()
    found = await saver.head(thread_id, None)
    spent_s = time.perf_counter() - begin_s
    if found is None:
        raise SystemExit("bench: the session is gone")
    return spent_s * 1_000


async def _state_bytes(database: Database, thread_id: str) -> int:
    found = await Saver(SqlCheckpointStore(database)).head(thread_id, None)
    if found is None:
        raise SystemExit("bench: the session is gone")
    return len(json.dumps(found.checkpoint["channel_values"], separators=(",", ":")))


async def _stored_bytes(database: Database, thread_id: str) -> int:
    """The content of every row of a session; keys and indexes are left out."""

    def total(connection: Connection, *columns: ColumnElement[Any]) -> int:
        lengths = (func.coalesce(func.sum(func.length(column)), 0) for column in columns)
        thread = columns[0].table.c.thread_id
        row = connection.execute(select(*lengths).where(thread == thread_id)).one()
        return sum(row)

    def work(connection: Connection) -> int:
        header = checkpoints.c
        return (
            total(connection, header.header, header.metadata, header.refs)
            + total(connection, checkpoint_blobs.c.data)
            + total(connection, checkpoint_writes.c.data)
        )

    return await database.read(work)


def _middle_and_end(spent_ms: list[float]) -> tuple[float, float]:
    """p50 and p99."""
    return statistics.median(spent_ms), statistics.quantiles(spent_ms, n=100)[98]


if __name__ == "__main__":
    print(*asyncio.run(_figures(sys.argv[1])))

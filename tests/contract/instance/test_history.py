"""What a workflow left behind: traces, and checkpoints that our own engine wrote."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from isthmus.core.accounts import TokenKind
from isthmus.core.checkpoint import Blob, BlobRef, PendingWrites, StoredCheckpoint, Thread, Write
from isthmus.instance.sweep import once
from isthmus.platform.checkpoints import Step, encode, pack
from tests.support.instance_stand import InstanceStand, open_instance

WORKFLOWS = "/api/v4/ai/duo_workflows/workflows"
CHANNELS = {
    "goal": "hidden",
    "status": "Execution",
    "plan": {"steps": [{"id": "1", "text": "look"}]},
    "ui_chat_log": [{"content": "hello"}],
    "conversation_history": {"agent": [{"type": "AIMessage"}]},
}


def stamp(number: int) -> str:
    return f"1f0{number:05d}"


async def created(stand: InstanceStand, **more: object) -> str:
    async with stand.client() as http:
        return str((await http.post(WORKFLOWS, json=more)).json()["id"])


async def put(stand: InstanceStand, workflow_id: str, values: object, thread: int = 0) -> None:
    sent = {
        "thread_ts": stamp(1),
        "metadata": {},
        "checkpoint": {"channel_values": values},
        "current_thread": thread,
    }
    async with stand.client(relayed=True) as relay:
        reply = await relay.post(f"{WORKFLOWS}/{workflow_id}/checkpoints", json=sent)
    assert reply.status_code == 201


async def traced(stand: InstanceStand, workflow_id: str, query: str = "") -> list[object]:
    async with stand.client() as http:
        reply = await http.get(f"{WORKFLOWS}/{workflow_id}/trace.jsonl{query}")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in reply.text.splitlines()]


async def test_i7_55_a_trace_begins_with_the_goal_and_shows_safe_channels(
    stand: InstanceStand,
) -> None:
    workflow_id = await created(stand, goal="mend it")
    goal = {"channel": "goal", "value": "mend it"}
    assert await traced(stand, workflow_id) == [goal]
    await put(stand, workflow_id, CHANNELS)
    assert await traced(stand, workflow_id) == [
        goal,
        {"channel": "ui_chat_log", "content": "hello"},
        {"channel": "plan.steps", "id": "1", "text": "look"},
        {"channel": "status", "value": "Execution"},
    ]
    full = await traced(stand, workflow_id, "?full=true")
    assert {"channel": "conversation_history.agent", "type": "AIMessage"} in full


async def test_a_trace_may_be_of_one_thread(stand: InstanceStand) -> None:
    workflow_id = await created(stand)
    await put(stand, workflow_id, CHANNELS, thread=2)
    assert await traced(stand, workflow_id, "?thread=2")
    assert await traced(stand, workflow_id, "?thread=latest")
    assert await traced(stand, workflow_id, "?thread=1") == []


async def test_a_trace_is_bounded(stand: InstanceStand) -> None:
    workflow_id = await created(stand)
    # More text than the body limit would let in at once.
    log = [{"content": "x" * (26 * 1024 * 1024)}]
    await engine_put(stand, workflow_id, 1, ui_chat_log=log)
    async with stand.client() as http:
        reply = await http.get(f"{WORKFLOWS}/{workflow_id}/trace.jsonl")
    assert (reply.status_code, reply.json()) == (413, {"message": "413 Payload Too Large"})


async def engine_put(
    stand: InstanceStand, workflow_id: str, number: int, *, ns: str = "", **values: object
) -> None:
    state = {"status": f"step {number}", "__start__": {"goal": "g"}, **values}
    parent = stamp(number - 1) if number > 1 else None
    header = {"id": stamp(number), "v": 4}
    step = Step(Thread(workflow_id, ns), stamp(number), parent, header, {"step": number}, state, ())
    await stand.stores.checkpoints.put(encode(step, None)[0])


async def test_checkpoints_of_our_engine_are_shown_as_the_contracts(stand: InstanceStand) -> None:
    workflow_id = await created(stand)
    for number in (1, 2, 3):
        await engine_put(stand, workflow_id, number)
    thread = Thread(workflow_id)
    write = Write("task", 0, "__interrupt__", pack("why"))
    await stand.stores.checkpoints.put_writes(PendingWrites(thread, stamp(3), (write,)))
    url = f"{WORKFLOWS}/{workflow_id}/checkpoints"
    async with stand.client(relayed=True) as relay:
        listed = await relay.get(url)
        assert [one["thread_ts"] for one in listed.json()] == [stamp(3), stamp(2), stamp(1)]
        assert [one["id"] for one in listed.json()] == [3, 2, 1]
        newest = listed.json()[0]
        assert newest["checkpoint"]["channel_values"]["status"] == "step 3"
        assert newest["parent_ts"] == stamp(2)
        assert newest["metadata"] == {"step": 3}
        assert newest["checkpoint_writes"][0]["channel"] == "__interrupt__"
        page = await relay.get(f"{url}?per_page=2&page=2")
        assert [one["id"] for one in page.json()] == [1]
        assert page.headers["x-total"] == "3"
        assert (await relay.get(f"{url}/2")).json() == listed.json()[1]
        for missing in ("4", "0"):
            assert (await relay.get(f"{url}/{missing}")).status_code == 404
    workflow = await stand.stores.workflows.get(workflow_id)
    first = await stand.instance.checkpoints.first(workflow)
    latest = await stand.instance.checkpoints.latest(workflow)
    assert first is not None
    assert latest is not None
    assert (first.thread_ts, latest.thread_ts) == (stamp(1), stamp(3))
    assert {"channel": "status", "value": "step 3"} in await traced(stand, workflow_id)


async def test_many_checkpoints_of_our_engine_are_walked_through(stand: InstanceStand) -> None:
    workflow_id = await created(stand)
    for number in range(1, 103):
        await engine_put(stand, workflow_id, number)
    await engine_put(stand, workflow_id, 500, ns="sub")
    url = f"{WORKFLOWS}/{workflow_id}/checkpoints"
    async with stand.client(relayed=True) as relay:
        top = await relay.get(f"{url}?per_page=1&page=102&checkpoint_ns=")
        every = await relay.get(f"{url}?per_page=1")
    assert [one["thread_ts"] for one in top.json()] == [stamp(1)]
    assert (top.headers["x-total"], every.headers["x-total"]) == ("102", "103")
    assert every.json()[0]["checkpoint_ns"] == "sub"


async def test_a_stamp_of_our_engines_can_be_asked_for(stand: InstanceStand) -> None:
    for name in ("duo_workflow_read_incremental_checkpoints", "dw_read_blobs_api"):
        await stand.flag(name, default=True)
    workflow_id = await created(stand)
    await engine_put(stand, workflow_id, 1)
    url = f"{WORKFLOWS}/{workflow_id}/checkpoints/by_thread_ts?thread_ts="
    async with stand.client(relayed=True) as relay:
        assert (await relay.get(url + stamp(1))).json()["thread_ts"] == stamp(1)
        assert (await relay.get(url + stamp(2))).status_code == 404


async def test_a_damaged_checkpoint_is_no_bug(stand: InstanceStand) -> None:
    workflow_id = await created(stand)
    refs = (BlobRef("status", 1, 0),)
    blobs = (Blob(refs[0], b"damaged"),)
    await stand.stores.checkpoints.put(
        StoredCheckpoint(Thread(workflow_id), stamp(1), None, b"{}", b"{}", refs, blobs)
    )
    async with stand.client() as http:
        reply = await http.get(f"{WORKFLOWS}/{workflow_id}/trace.jsonl")
    assert reply.status_code == 503


async def test_a_workflow_without_checkpoints_has_none(stand: InstanceStand) -> None:
    workflow = await stand.stores.workflows.get(await created(stand))
    assert await stand.instance.checkpoints.first(workflow) is None
    assert await stand.instance.checkpoints.latest(workflow) is None


@pytest.mark.parametrize("numbers", [(1,), (1, 2, 3)], ids=len)
async def test_the_first_and_the_latest_of_the_contracts(
    stand: InstanceStand, numbers: tuple[int, ...]
) -> None:
    workflow_id = await created(stand)
    headers = await stand.token(stand.alice, TokenKind.FLOW, "ai_workflows")
    async with stand.client(relayed=True) as relay:
        for number in (*numbers, 900):
            sent = {"thread_ts": stamp(number), "metadata": {}, "checkpoint": {"n": number}}
            lineage = {"checkpoint_ns": "sub"} if number == 900 else {}
            url = f"{WORKFLOWS}/{workflow_id}/checkpoints"
            reply = await relay.post(url, json=sent | lineage, headers=headers)
            assert reply.status_code == 201
    workflow = await stand.stores.workflows.get(workflow_id)
    first = await stand.instance.checkpoints.first(workflow)
    latest = await stand.instance.checkpoints.latest(workflow)
    assert first is not None
    assert latest is not None
    assert (first.thread_ts, latest.thread_ts) == (stamp(1), stamp(max(numbers)))


async def test_a_session_is_kept_on_each_kind_of_database(
    database_url: str, tmp_path: Path
) -> None:
    model = '{"name":"m",  "provider":"gitlab"}'
    sent = {
        "thread_ts": stamp(1),
        "metadata": {"step": 1},
        "checkpoint": {"channel_values": CHANNELS | {"__start__": {"goal": "mend it"}}},
        "model_metadata_json": model,
    }
    write = {"task": "t", "idx": 0, "channel": "c", "write_type": "json", "data": "e30="}
    async with (
        open_instance(tmp_path, url=database_url) as stand,
        stand.client(relayed=True) as relay,
    ):
        one = f"{WORKFLOWS}/{await created(stand, project_id='acme/app')}"
        assert (await relay.patch(one, json={"status_event": "start"})).status_code == 200
        assert (await relay.post(f"{one}/checkpoints", json=sent)).status_code == 201
        writes = {"thread_ts": stamp(1), "checkpoint_writes": [write]}
        assert (await relay.post(f"{one}/checkpoint_writes_batch", json=writes)).status_code == 200
        event = {"event_type": "message", "message": "hello"}
        assert (await relay.post(f"{one}/events", json=event)).status_code == 201
        (shown,) = (await relay.get(f"{one}/checkpoints")).json()
        record = await stand.stores.workflows.get(one.rpartition("/")[2])
    assert shown["checkpoint"] == sent["checkpoint"]
    assert [kept["task"] for kept in shown["checkpoint_writes"]] == ["t"]
    assert (record.model, record.goal, record.status) == (model, "mend it", "running")


async def test_checkpoints_keep_a_workflow_from_being_given_up(stand: InstanceStand) -> None:
    silent, busy, waiting = [await created(stand) for _ in range(3)]
    async with stand.client() as http:
        for workflow_id in (silent, busy, waiting):
            await http.patch(f"{WORKFLOWS}/{workflow_id}", json={"status_event": "start"})
        await http.patch(f"{WORKFLOWS}/{waiting}", json={"status_event": "require_input"})
    stand.clock.advance(1_700)
    await put(stand, busy, CHANNELS)
    stand.clock.advance(200)
    store = stand.stores.workflows
    allowed = timedelta(seconds=stand.instance.settings.stuck_after_s)
    assert await once(store, stand.clock.utc() - allowed) == [silent]
    assert (await store.get(silent)).status == "failed"
    assert await once(store, stand.clock.utc() - allowed) == []

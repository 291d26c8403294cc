"""Checkpoints and pending writes over HTTP, on the real stores: what flow services do."""

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from isthmus.settings import InstanceSettings
from tests.support.instance_stand import InstanceStand, open_instance

WORKFLOWS = "/api/v4/ai/duo_workflows/workflows"
MODEL = '{"name":"claude_sonnet_4_6_vertex",  "provider":"gitlab","endpoint":null}'
ODD = '{"channel_values": {"n": 1.50, "ü": "\\u00fc",\n "big": 123456789012345678901234567890}}'


def stamp(number: int) -> str:
    return f"1f0{number:05d}-0000-6000-8000-000000000000"


def deflated(text: str) -> str:
    return b64encode(zlib.compress(text.encode())).decode()


def body(number: int = 1, **more: object) -> dict[str, object]:
    checkpoint = {"channel_values": {"status": "Execution", "step": number}}
    return {
        "thread_ts": stamp(number),
        "parent_ts": stamp(number - 1) if number > 1 else None,
        "metadata": {"step": number},
        "checkpoint": checkpoint,
    } | more


class Session:
    """What the relay does for one workflow of Alice's."""

    def __init__(self, http: httpx.AsyncClient, stand: InstanceStand, workflow_id: str) -> None:
        self.http = http
        self.stand = stand
        self.workflow_id = workflow_id
        self.url = f"{WORKFLOWS}/{workflow_id}"

    async def put(self, number: int = 1, **more: object) -> httpx.Response:
        return await self.post(body(number, **more))

    async def post(self, sent: dict[str, object]) -> httpx.Response:
        return await self.http.post(f"{self.url}/checkpoints", json=sent)

    async def page(self, query: str = "") -> httpx.Response:
        reply = await self.http.get(f"{self.url}/checkpoints{query}")
        assert reply.status_code == 200, reply.text
        return reply

    async def model(self) -> str:
        return (await self.stand.stores.workflows.get(self.workflow_id)).model


@pytest.fixture(name="session")
async def _session(stand: InstanceStand) -> AsyncIterator[Session]:
    async with stand.client(relayed=True) as http:
        yield await opened(http, stand)


async def opened(http: httpx.AsyncClient, stand: InstanceStand, **more: object) -> Session:
    reply = await http.post(WORKFLOWS, json=more)
    assert reply.status_code == 201
    return Session(http, stand, str(reply.json()["id"]))


async def test_i7_11_only_the_relay_stores_checkpoints(session: Session) -> None:
    async with session.stand.client() as direct:
        refused = await direct.post(f"{session.url}/checkpoints", json=body())
    assert (refused.status_code, refused.json()) == (403, {"message": "403 Forbidden"})
    reply = await session.put()
    assert reply.status_code == 201
    assert reply.json() | {"id": 0} == {
        "id": 0,
        "thread_ts": stamp(1),
        "parent_ts": None,
        "checkpoint_ns": "",
    }
    assert isinstance(reply.json()["id"], int)
    again = await session.put()
    assert (again.status_code, again.json()) == (201, reply.json())


async def test_i7_12_what_was_compressed_comes_back_in_both_forms(session: Session) -> None:
    sent = body() | {"checkpoint": None, "compressed_checkpoint": deflated(ODD)}
    assert (await session.post(sent)).status_code == 201
    plain = await session.page()
    assert ODD in plain.text
    (packed,) = (await session.page("?accept_compressed=true")).json()
    assert "checkpoint" not in packed
    assert zlib.decompress(b64decode(packed["compressed_checkpoint"])).decode() == ODD
    one = await session.http.get(f"{session.url}/checkpoints/{packed['id']}")
    assert one.status_code == 200
    assert ODD in one.text
    zipped = await session.http.get(
        f"{session.url}/checkpoints/{packed['id']}?accept_compressed=true"
    )
    assert zipped.json() == packed


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"checkpoint": None}, "Either checkpoint or compressed_checkpoint must be provided"),
        ({"checkpoint": None, "compressed_checkpoint": ""}, "Either checkpoint or"),
        (
            {"checkpoint": None, "compressed_checkpoint": "%%%"},
            "Invalid compressed checkpoint data: ",
        ),
        (
            {"checkpoint": None, "compressed_checkpoint": b64encode(b"plain").decode()},
            "Invalid compressed checkpoint data: ",
        ),
        (
            {"checkpoint": None, "compressed_checkpoint": deflated("[1]")},
            "Invalid compressed checkpoint data: ",
        ),
        ({"checkpoint": [1]}, "checkpoint is invalid"),
        ({"metadata": "text"}, "metadata is invalid"),
        ({"metadata": None}, "metadata is invalid"),
        ({"thread_ts": ""}, "thread_ts does not have a valid value"),
        ({"thread_ts": 5}, "thread_ts is invalid"),
        ({"checkpoint_ns": "n" * 4_097}, "checkpoint_ns does not have a valid value"),
        ({"current_thread": -1}, "current_thread does not have a valid value"),
        ({"channel_blobs": [{"channel": "c"}]}, "channel_blobs[0].version is missing"),
    ],
)
async def test_i7_13_a_checkpoint_that_cannot_be_read_is_refused(
    session: Session, changed: dict[str, object], told: str
) -> None:
    reply = await session.post(body() | changed)
    assert reply.status_code == 400, reply.text
    assert told in str(reply.json())
    assert (await session.page()).json() == []


@pytest.mark.parametrize("missing", ["thread_ts", "metadata"])
async def test_what_a_checkpoint_needs(session: Session, missing: str) -> None:
    sent = body()
    del sent[missing]
    reply = await session.post(sent)
    assert (reply.status_code, reply.json()) == (400, {"error": f"{missing} is missing"})


async def test_i7_14_checkpoints_are_listed_newest_first_with_their_writes(
    session: Session,
) -> None:
    for number in (1, 3, 2):
        assert (await session.put(number)).status_code == 201
    write = {
        "task": "t",
        "idx": 0,
        "channel": "__interrupt__",
        "write_type": "json",
        "data": "e30=",
    }
    put = await session.http.post(
        f"{session.url}/checkpoint_writes_batch",
        json={"thread_ts": stamp(3), "checkpoint_writes": [write]},
    )
    assert put.status_code == 200
    whole = await session.page()
    assert [one["thread_ts"] for one in whole.json()] == [stamp(3), stamp(2), stamp(1)]
    first = await session.page("?per_page=1&accept_compressed=true")
    (shown,) = first.json()
    (kept,) = shown["checkpoint_writes"]
    assert kept | {"id": 0} == {"id": 0, "thread_ts": stamp(3), **write}
    assert (shown["metadata"], shown["current_thread"]) == ({"step": 3}, 0)
    assert (shown["parent_ts"], shown["checkpoint_ns"]) == (stamp(2), "")
    told = {name.decode(): value.decode() for name, value in first.headers.raw}
    link = told.pop("Link")
    assert {name: told[name] for name in told if name.startswith("X-")} == {
        "X-Page": "1",
        "X-Per-Page": "1",
        "X-Next-Page": "2",
        "X-Prev-Page": "",
        "X-Total": "3",
        "X-Total-Pages": "3",
    }
    there = f"http://instance.test{session.url}/checkpoints?per_page=1&accept_compressed=true&page="
    assert link == f'<{there}2>; rel="next", <{there}1>; rel="first", <{there}3>; rel="last"'
    last = await session.page("?per_page=1&page=3")
    assert last.headers["x-next-page"] == ""
    assert last.headers["x-prev-page"] == "2"
    assert [one["thread_ts"] for one in last.json()] == [stamp(1)]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("page=0", "page does not have a valid value"),
        ("page=x", "page is invalid"),
        ("per_page=-1", "per_page does not have a valid value"),
        ("accept_compressed=maybe", "accept_compressed is invalid"),
    ],
)
async def test_pages_that_cannot_be(session: Session, query: str, told: str) -> None:
    reply = await session.http.get(f"{session.url}/checkpoints?{query}")
    assert (reply.status_code, reply.json()) == (400, {"error": told})


async def test_a_page_is_never_larger_than_a_hundred(session: Session) -> None:
    assert (await session.page("?per_page=5000")).headers["x-per-page"] == "100"


@pytest.mark.parametrize("strategy", ["full", "incremental", "incremental_only", "nonsense"])
async def test_i7_15_the_strategy_is_ignored(session: Session, strategy: str) -> None:
    url = f"{session.url}/checkpoints?checkpoint_strategy={strategy}"
    blob = {"channel": "c", "version": "1", "write_type": "json", "step_action": "compaction"}
    sent = body(channel_blobs=[{**blob, "data": deflated("[]")}], channel_keys=["c"])
    assert (await session.http.post(url, json=sent)).status_code == 201
    (shown,) = (await session.page()).json()
    assert shown["checkpoint"] == sent["checkpoint"]
    bad = body(2, channel_blobs=[{**blob, "data": "%"}])
    refused = await session.http.post(url, json=bad)
    assert (refused.status_code, refused.json()) == (
        400,
        {"error": "channel_blobs[0].data is invalid"},
    )


async def test_i7_16_the_first_checkpoint_names_the_model(session: Session) -> None:
    before = await session.stand.stores.workflows.get(session.workflow_id)
    session.stand.clock.advance(5)
    assert (await session.put(model_metadata_json=MODEL)).status_code == 201
    after = await session.stand.stores.workflows.get(session.workflow_id)
    assert after.model == MODEL
    assert (after.updated_at - before.updated_at).total_seconds() == 5


@pytest.mark.parametrize(("keep", "left"), [("first", "one"), ("every", "two")])
async def test_i7_17_a_blank_never_clears_the_model(tmp_path: Path, keep: str, left: str) -> None:
    settings = InstanceSettings.model_validate({"keep_model": keep})
    async with open_instance(tmp_path, settings) as stand, stand.client(relayed=True) as http:
        session = await opened(http, stand)
        await session.put(1, model_metadata_json="one")
        for number, blank in enumerate((None, "", " \n "), start=2):
            assert (await session.put(number, model_metadata_json=blank)).status_code == 201
            assert await session.model() == "one"
        assert (await session.put(5)).status_code == 201
        assert (await session.put(6, model_metadata_json="two")).status_code == 201
        assert await session.model() == left


async def test_i7_18_a_model_that_is_too_long_writes_nothing(session: Session) -> None:
    assert (await session.put(1, model_metadata_json="m" * 1_025)).status_code == 400
    assert (await session.page()).json() == []
    assert await session.model() == ""
    assert (await session.put(1, model_metadata_json="m" * 1_024)).status_code == 201
    assert await session.model() == "m" * 1_024


async def test_a_model_text_that_holds_a_key_is_not_kept(session: Session) -> None:
    secret = '{"provider":"openai","api_key":"sk-1"}'
    assert (await session.put(1, model_metadata_json=secret)).status_code == 201
    assert await session.model() == ""


@pytest.mark.parametrize(
    ("start", "goal"),
    [
        ({"goal": "mend it", "context": {"goal": "other"}}, "mend it"),
        ({"goal": " ", "context": {"goal": "mend it"}}, "mend it"),
        ({"goal": "g" * 20_000}, "g" * 16_384),
        ({"context": 5}, ""),
        (None, ""),
    ],
)
async def test_a_checkpoint_fills_a_blank_goal(session: Session, start: object, goal: str) -> None:
    checkpoint = {"channel_values": {"__start__": start}}
    assert (await session.put(1, checkpoint=checkpoint)).status_code == 201
    assert (await session.stand.stores.workflows.get(session.workflow_id)).goal == goal


async def test_a_goal_that_is_there_stays(stand: InstanceStand) -> None:
    async with stand.client(relayed=True) as http:
        session = await opened(http, stand, goal="mine")
        await session.put(1, checkpoint={"channel_values": {"__start__": {"goal": "theirs"}}})
        assert (await stand.stores.workflows.get(session.workflow_id)).goal == "mine"


async def test_lineages_are_told_apart(session: Session) -> None:
    await session.put(1)
    await session.put(2, checkpoint_ns="sub:1")
    for query, found in (("", 2), ("?checkpoint_ns=", 1), ("?checkpoint_ns=sub%3A1", 1)):
        assert len((await session.page(query)).json()) == found


async def test_one_checkpoint_by_its_stamp_needs_two_flags(session: Session) -> None:
    await session.put(1)
    await session.put(2)
    url = f"{session.url}/checkpoints/by_thread_ts?thread_ts={stamp(1)}&accept_compressed=true"
    for name in ("duo_workflow_read_incremental_checkpoints", "dw_read_blobs_api"):
        reply = await session.http.get(url)
        assert (reply.status_code, reply.json()) == (
            404,
            {"message": "404 Checkpoint Not Found"},
        )
        await session.stand.flag(name, default=True)
    reply = await session.http.get(url)
    assert (reply.status_code, reply.json()["thread_ts"]) == (200, stamp(1))
    assert "compressed_checkpoint" in reply.json()
    absent = await session.http.get(url.replace(stamp(1), stamp(9)))
    assert absent.status_code == 404


@pytest.mark.parametrize("number", ["0", "999", "x", "-1", "9" * 30])
async def test_a_checkpoint_that_is_not_there(session: Session, number: str) -> None:
    await session.put(1)
    reply = await session.http.get(f"{session.url}/checkpoints/{number}")
    assert (reply.status_code, reply.json()) == (404, {"message": "404 Checkpoint Not Found"})


@pytest.mark.parametrize(
    "changed",
    [{"idx": "x"}, {"data": "d" * 10_001}, {"task": None}, {"channel": "c" * 256}],
    ids=lambda changed: next(iter(changed)),
)
async def test_writes_that_do_not_fit_are_refused(
    session: Session, changed: dict[str, object]
) -> None:
    write = {"task": "t", "idx": 0, "channel": "c", "write_type": "json", "data": "e30="}
    reply = await session.http.post(
        f"{session.url}/checkpoint_writes_batch",
        json={"thread_ts": stamp(1), "checkpoint_writes": [write | changed]},
    )
    assert reply.status_code == 400


async def test_a_large_checkpoint_goes_in_and_out(session: Session) -> None:
    values = {"channel_values": {"log": ["x" * 1_000] * 1_000}}
    packed = deflated(json.dumps(values))
    sent = body() | {"checkpoint": None, "compressed_checkpoint": packed}
    assert (await session.post(sent)).status_code == 201
    (shown,) = cast("list[dict[str, Any]]", (await session.page()).json())
    assert shown["checkpoint"] == values

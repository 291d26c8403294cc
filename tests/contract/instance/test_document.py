"""What the OpenAPI document says of the instance API, and that real sockets carry its headers."""

import asyncio
import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, cast

from isthmus.edge.http.app import endpoints_of, gateway_endpoints, instance_endpoints
from isthmus.edge.http.membership import FAMILIES, OPEN
from isthmus.edge.http.openapi import document
from isthmus.edge.sockets import EXECUTE
from isthmus.settings import InstanceSettings
from tests.support.instance_stand import InstanceStand, open_instance
from tests.support.listener import listening

ROOT = "/api/v4/ai/duo_workflows"
SECRET = "shared with a relay"


def test_every_route_says_who_may_call_it(stand: InstanceStand) -> None:
    closed = [each for each in endpoints_of(stand.services) if each.path.startswith("/api/")]
    assert closed
    assert [each.path for each in closed if not each.scopes] == []


def test_what_loads_late_stands_on_paths_of_its_own(stand: InstanceStand) -> None:
    early = [each.path for each in gateway_endpoints(stand.services)]
    late = [each.path for each in instance_endpoints(stand.services)]
    assert early
    assert late
    assert [path for path in early if path.startswith(FAMILIES)] == []
    assert [path for path in late if not path.startswith(FAMILIES)] == []
    assert EXECUTE not in late
    assert sorted(early + late) == [each.path for each in endpoints_of(stand.services)]


def test_refusals_have_one_shape_and_answers_their_status(stand: InstanceStand) -> None:
    shown = cast("dict[str, Any]", document(endpoints_of(stand.services)))
    create = shown["paths"][f"{ROOT}/workflows"]["post"]
    assert set(create["responses"]) == {"201", "default"}
    refusal = create["responses"]["default"]["content"]["application/json"]["schema"]
    assert refusal == {"$ref": "#/components/schemas/Refusal"}
    assert create["security"] == [{"token": []}]
    trace = shown["paths"][f"{ROOT}/workflows/{{id}}/trace.jsonl"]["get"]
    assert set(trace["responses"]["200"]["content"]) == {"application/x-ndjson"}
    for path in OPEN & set(shown["paths"]):
        for operation in shown["paths"][path].values():
            assert operation["security"] == []


def marker(secret: str) -> str:
    parts = [{"alg": "HS256"}, {"iss": "gitlab-workhorse"}]
    head = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"{head}.{_base64(hmac.new(secret.encode(), head.encode(), hashlib.sha256).digest())}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def head_of(port: int, path: str, headers: dict[str, str]) -> bytes:
    """The head of the answer on a connection that stays open, as relays' connections do."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"GET {path} HTTP/1.1", "host: instance.test"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head


async def test_a_relay_outside_of_this_process_is_known_by_its_marker(tmp_path: Path) -> None:
    settings = InstanceSettings.model_validate({"relay_secret": SECRET})
    async with open_instance(tmp_path, settings) as stand, stand.client() as http:
        one = f"{ROOT}/workflows/{(await http.post(f'{ROOT}/workflows', json={})).json()['id']}"
        for mark, status in ((marker(SECRET), 200), (marker("guessed"), 403), ("", 403)):
            headers = {"gitlab-workhorse-api-request": mark}
            assert (await http.get(one, headers=headers)).status_code == status


async def test_the_case_of_paging_headers_survives_a_real_socket(tmp_path: Path) -> None:
    settings = InstanceSettings.model_validate({"relay_secret": SECRET})
    async with open_instance(tmp_path, settings) as stand:
        async with stand.client() as http:
            made = (await http.post(f"{ROOT}/workflows", json={})).json()["id"]
        marked = stand.alice.bearer | {"gitlab-workhorse-api-request": marker(SECRET)}
        path = f"{ROOT}/workflows/{made}/checkpoints?per_page=1"
        with listening(stand.app) as port:
            head = await head_of(port, path, marked)
    assert head.startswith(b"HTTP/1.1 200")
    for name in (
        b"X-Page: 1",
        b"X-Per-Page: 1",
        b"X-Next-Page: ",
        b"X-Total: 0",
        b"Link: <http://",
    ):
        assert b"\r\n" + name in head

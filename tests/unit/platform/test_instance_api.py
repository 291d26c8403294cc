"""Calls of the instance that the client carries out."""

import asyncio
from collections.abc import Iterable

import pytest

from isthmus.contract.contract_pb2 import Action, ActionResponse, HttpResponse
from isthmus.core.errors import ToolRefused
from isthmus.platform import instance_api
from tests.support.instance import Machine as Stand


class Instance(Stand):
    """Answers in order: a status with a body, or what a failed action says."""

    def __init__(self, answers: Iterable[tuple[int, str] | str], wait_s: float = 0.0) -> None:
        self._answers, self._wait_s = iter(answers), wait_s
        self.asked: list[Action] = []

    async def ask(self, action: Action) -> ActionResponse:
        self.asked.append(action)
        if self._wait_s:
            await asyncio.sleep(self._wait_s)
        answer = next(self._answers)
        if isinstance(answer, str):
            raise ToolRefused(answer)
        http = HttpResponse(statusCode=answer[0], body=answer[1], headers={"X-Next-Page": "2"})
        return ActionResponse(httpResponse=http)

    def has(self, capability: str) -> bool:
        return not capability


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_api, "WAITS_S", (0.0, 0.0))


async def test_a12_35_a_500_is_handed_over_after_two_more_attempts() -> None:
    instance = Instance([(500, "a"), (503, "b"), (500, "c")])
    reply = await instance_api.request(instance, "GET", "/api/v4/user")
    assert (reply.status, reply.body, len(instance.asked)) == (500, "c", 3)


async def test_a12_35_a_404_is_not_tried_again() -> None:
    instance = Instance([(404, "{}"), (200, "{}")])
    assert (await instance_api.request(instance, "GET", "/api/v4/user")).status == 404
    assert len(instance.asked) == 1


async def test_an_instance_out_of_reach_is_tried_again() -> None:
    refused = "HTTP action error: dial tcp: connection refused"
    instance = Instance([refused, refused, (200, '{"id": 1}')])
    reply = await instance_api.request(instance, "POST", "/api/v4/x", {"a": 1})
    assert (reply.json(), reply.headers["x-next-page"]) == ({"id": 1}, "2")
    assert instance.asked[0].runHTTPRequest.body == '{"a":1}'


async def test_what_the_client_refuses_is_not_tried_again() -> None:
    instance = Instance(["HTTP action error: response body exceeded size limit", (200, "")])
    with pytest.raises(ToolRefused, match="size limit"):
        await instance_api.request(instance, "GET", "/api/v4/x")
    assert len(instance.asked) == 1


async def test_a_text_is_sent_as_it_is_and_none_leaves_the_body_out() -> None:
    instance = Instance([(200, ""), (200, "")])
    await instance_api.request(instance, "POST", "/x", "raw")
    await instance_api.request(instance, "GET", "/x")
    assert instance.asked[0].runHTTPRequest.body == "raw"
    assert not instance.asked[1].runHTTPRequest.HasField("body")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"errors": [{"message": "no such field"}]}', "no such field"),
        ('{"data": null}', "without data"),
        ("[]", "GraphQL"),
        ("<html>", "JSON"),
    ],
)
async def test_graphql_errors_are_told(body: str, told: str) -> None:
    with pytest.raises(ToolRefused, match=told):
        await instance_api.graphql(Instance([(200, body)]), "query { x }")


async def test_graphql_returns_the_data() -> None:
    instance = Instance([(200, '{"data": {"x": 1}}')])
    assert await instance_api.graphql(instance, "query($a: ID) { x }", {"a": "1"}) == {"x": 1}
    assert instance.asked[0].runHTTPRequest.path == "/api/graphql"


async def test_graphql_is_tried_three_times_when_nobody_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(instance_api, "GRAPHQL_S", 0.01)
    instance = Instance([(200, "{}")] * 3, wait_s=30.0)
    with pytest.raises(ToolRefused, match="in time"):
        await instance_api.graphql(instance, "query { x }")
    assert len(instance.asked) == 3

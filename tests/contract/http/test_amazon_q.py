"""`POST /v1/amazon_q/...`: known, closed to others, and not built."""

import httpx
import pytest

from isthmus.auth.authenticate import AuthPolicy
from isthmus.edge.http.app import create
from tests.support.http_app import SERVICE, Stand, bearer

APPLICATION = {
    "client_id": "i",
    "client_secret": "s",
    "instance_url": "https://gitlab.test",
    "redirect_url": "https://gitlab.test/back",
    "role_arn": "arn:aws:iam::1:role/q",
}
ISSUE = {
    "source": "issue",
    "command": "dev",
    "project_path": "a/b",
    "project_id": "1",
    "note_id": None,
    "discussion_id": "2",
    "issue_id": "3",
    "issue_iid": "4",
}
MERGE_REQUEST = {
    "source": "merge_request",
    "command": "review",
    "project_path": "a/b",
    "project_id": "1",
    "note_id": "9",
    "discussion_id": "2",
    "merge_request_id": "3",
    "merge_request_iid": "4",
    "source_branch": "x",
    "target_branch": "main",
    "last_commit_id": "c",
}
WEB_HOOK = {"source": "web_hook", "data": {"any": [1]}}
GOOD: list[tuple[str, dict[str, object]]] = [
    ("oauth/application", dict(APPLICATION)),
    ("oauth/application/delete", {"role_arn": "r"}),
    ("oauth/application/verify", {"role_arn": "r", "code": "c"}),
    *(
        ("events", {"role_arn": "r", "code": "c", "payload": payload})
        for payload in (ISSUE, MERGE_REQUEST, WEB_HOOK)
    ),
]


async def post(path: str, body: object, *scopes: str) -> httpx.Response:
    stand = Stand(policy=AuthPolicy(SERVICE))
    transport = httpx.ASGITransport(create(stand.services()))
    headers = bearer({"scopes": list(scopes)})
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        return await http.post(f"/v1/amazon_q/{path}", json=body, headers=headers)


@pytest.mark.parametrize(("path", "body"), GOOD)
async def test_who_may_use_it_hears_that_it_is_not_built(
    path: str, body: dict[str, object]
) -> None:
    reply = await post(path, body, "amazon_q_integration")
    assert reply.status_code == 501
    assert "Amazon Q" in reply.json()["detail"]


@pytest.mark.parametrize(("path", "body"), GOOD)
async def test_others_may_not(path: str, body: dict[str, object]) -> None:
    reply = await post(path, body, "complete_code")
    assert (reply.status_code, reply.json()) == (403, {"detail": "Unauthorized to perform action"})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("oauth/application", {**APPLICATION, "client_id": "x" * 256}),
        ("oauth/application/delete", {}),
        ("oauth/application/verify", {"role_arn": "r" * 2049, "code": "c"}),
        ("events", {"role_arn": "r", "code": "c"}),
        ("events", {"role_arn": "r", "code": "c", "payload": {"source": "other"}}),
        (
            "events",
            {
                "role_arn": "r",
                "code": "c",
                "payload": {name: ISSUE[name] for name in ISSUE if name != "note_id"},
            },
        ),
        ("events", {"role_arn": "r", "code": "c", "payload": WEB_HOOK, "event_id": "x" * 256}),
    ],
)
async def test_bodies_are_checked_first(path: str, body: object) -> None:
    reply = await post(path, body, "complete_code")
    assert (reply.status_code, reply.json()) == (422, {"detail": "Validation error"})

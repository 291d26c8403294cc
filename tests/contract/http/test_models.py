"""`GET /v1/models/definitions`: open to everybody, in the contract's shape."""

import httpx

from isthmus.edge.http.app import create
from tests.support.http_app import Stand


async def test_h11_02_definitions_are_open_and_tell_models_and_features() -> None:
    transport = httpx.ASGITransport(create(Stand().services()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as http:
        reply = await http.get("/v1/models/definitions")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    body = reply.json()
    assert list(body) == ["models", "unit_primitives"]
    assert body["models"][0] == {
        "name": "claude-test",
        "identifier": "claude_test",
        "provider": None,
        "deprecation": None,
        "description": None,
        "cost_indicator": None,
    }

"""`GET /v1/models/definitions`: open to everybody, in the contract's shape."""

from starlette.testclient import TestClient

from isthmus.edge.http.app import create
from tests.support.http_app import Stand


def test_h11_02_definitions_are_open_and_tell_models_and_features() -> None:
    reply = TestClient(create(Stand().services())).get("/v1/models/definitions")
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

"""The OpenAPI document: whole in itself, true to the route table, and closed like everything."""

from collections.abc import Iterator
from typing import cast

import httpx
import pytest

from isthmus.auth.authenticate import AuthPolicy
from isthmus.edge.http.app import create, endpoints_of
from isthmus.edge.http.openapi import document, documentation, page
from isthmus.settings import HttpSettings
from tests.support.http_app import SERVICE, Stand, bearer

Tree = dict[str, "Tree"]

METHODS = {"get", "post", "put", "delete", "patch"}


@pytest.fixture(name="shown")
def _shown() -> Tree:
    return cast("Tree", document(endpoints_of(Stand().services())))


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in cast("dict[str, object]", node).items():
            if key == "$ref":
                yield str(value)
            yield from references(value)
    elif isinstance(node, list):
        for value in cast("list[object]", node):
            yield from references(value)


def test_every_reference_leads_somewhere_and_every_schema_is_used(shown: Tree) -> None:
    known = {f"#/components/schemas/{name}" for name in shown["components"]["schemas"]}
    used = set(references(shown))
    assert used == known
    assert known


def test_every_endpoint_is_described_once(shown: Tree) -> None:
    expected = {
        (endpoint.method.lower(), endpoint.path.replace(":path}", "}"))
        for endpoint in endpoints_of(Stand().services())
    }
    found = {(method, path) for path, methods in shown["paths"].items() for method in methods}
    assert found == expected
    identifiers = [
        str(operation["operationId"])
        for methods in shown["paths"].values()
        for operation in methods.values()
    ]
    assert len(set(identifiers)) == len(identifiers)


def test_golden_facts(shown: Tree) -> None:
    assert cast("str", shown["openapi"]) == "3.1.0"
    proxy = shown["paths"]["/v1/proxy/anthropic/{path}"]["post"]
    assert proxy["security"] == [{"token": []}]
    assert proxy["parameters"] == [
        {"name": "path", "in": "path", "required": True, "schema": {"type": "string"}}
    ]
    assert "text/event-stream" in proxy["responses"]["200"]["content"]
    assert shown["paths"]["/monitoring/healthz"]["get"]["security"] == []
    token = shown["paths"]["/v1/code/user_access_token"]["post"]
    schema = token["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/UserToken"}
    completion = shown["paths"]["/v2/code/completions"]["post"]
    assert "application/json" in completion["requestBody"]["content"]
    assert "422" in completion["responses"]


async def get(stand: Stand, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    transport = httpx.ASGITransport(create(stand.services()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as http:
        return await http.get(path, headers=headers)


SHOWING = HttpSettings(docs_url="/docs", openapi_url="/openapi.json", redoc_url="/redoc")


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc"])
async def test_documentation_is_served_where_a_setting_says_and_to_known_callers(path: str) -> None:
    closed = AuthPolicy(SERVICE)
    known = bearer({"scopes": []})
    assert (await get(Stand(policy=closed, http=SHOWING), path)).status_code == 401
    assert (await get(Stand(policy=closed), path, known)).status_code == 404
    reply = await get(Stand(policy=closed, http=SHOWING), path, known)
    assert reply.status_code == 200
    assert "/v1/proxy/anthropic/{path}" in reply.text


async def test_the_page_loads_nothing_from_elsewhere(shown: Tree) -> None:
    html = page(cast("dict[str, object]", shown))
    assert "http" not in html.replace("http-equiv", "")
    assert "<script" not in html
    assert html.count("<tr>") == 1 + sum(len(methods) for methods in shown["paths"].values())


def test_one_path_may_serve_both_pages() -> None:
    both = HttpSettings(docs_url="/docs", redoc_url="/docs")
    assert [endpoint.path for endpoint in documentation(both, [])] == ["/docs"]

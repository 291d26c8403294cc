"""Tools that are data: what each sends, and what becomes of the answers."""

import json
from pathlib import Path
from typing import Any

import graphql
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.core.errors import ToolRefused
from isthmus.platform import declared, listing
from isthmus.platform.listing import MAX_PAGES
from isthmus.platform.tool import Tool, specification
from isthmus.platform.tool_file import DeclaredTool
from tests.support import declared_tools
from tests.support.instance import Answer, Instance, ok

EVERY = declared_tools.every()
TOOLS = {one.name: tool for one, tool in EVERY}
RECORDED = json.loads(declared_tools.RECORDED.read_text())


async def run(name: str, instance: Instance, **args: Any) -> Any:
    return await instance.read(TOOLS[name], **args)


@pytest.mark.parametrize(("one", "tool"), EVERY, ids=lambda v: getattr(v, "name", ""))
async def test_each_tool_sends_what_was_recorded(one: DeclaredTool, tool: Tool) -> None:
    assert await declared_tools.sent(one, tool) == RECORDED[one.name]


def test_nothing_is_recorded_of_a_tool_that_is_gone() -> None:
    assert set(RECORDED) == set(TOOLS)


@pytest.mark.parametrize("one", [one for one, _ in EVERY if one.graphql], ids=lambda one: one.name)
def test_documents_parse_and_their_variables_are_given(one: DeclaredTool) -> None:
    asked = [(lookup.graphql, lookup.variables) for lookup in one.before]
    kinds: list[str] = []
    for text, variables in (*asked, (one.graphql, one.variables)):
        (operation,) = graphql.parse(text).definitions
        assert isinstance(operation, graphql.OperationDefinitionNode)
        wanted = {v.variable.name.value for v in operation.variable_definitions or ()}
        assert wanted == set(variables)
        kinds.append(operation.operation.value)
    last = "mutation" if one.group == "RW" else "query"
    assert kinds == ["query"] * len(one.before) + [last]


@pytest.mark.parametrize("tool", TOOLS.values(), ids=lambda tool: tool.name)
def test_every_argument_is_explained_to_models(tool: Tool) -> None:
    shown = json.dumps(specification(tool))
    (schema,) = json.loads(shown)["function"]["parameters"]["$defs"].values()
    assert all(field.get("description") for field in schema.get("properties", {}).values())


async def test_a_url_stands_for_the_ids() -> None:
    instance = Instance(ok({"iid": 3}))
    url = "https://gitlab.example.com/group/sub/project/-/issues/3#note_1"
    assert await run("get_issue", instance, url=url) == {"iid": 3}
    assert instance.asked == ["GET /api/v4/projects/group%2Fsub%2Fproject/issues/3"]


async def test_a_work_item_page_names_an_issue() -> None:
    instance = Instance(ok({"iid": 3}))
    await run("get_issue", instance, url="https://gitlab.example.com/g/p/-/work_items/3")
    assert instance.asked == ["GET /api/v4/projects/g%2Fp/issues/3"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"url": "https://evil.example/g/p/-/issues/3"}, "another host"),
        ({"url": "https://gitlab.example.com@evil.example/g/p/-/issues/3"}, "page of the inst"),
        ({"url": "https://gitlab.example.com/g/p/-/issues/3", "issue_iid": 4}, "different things"),
        ({"url": "https://gitlab.example.com/g/p/-/issues/3", "project_id": "x/y"}, "different"),
        ({"url": "https://gitlab.example.com/g/p"}, "`issue_iid` is missing"),
        ({"issue_iid": 4}, "Name the project"),
        ({"project_id": "..", "issue_iid": 4}, "cannot stand in a path"),
        ({"url": "file:///etc/passwd"}, "page of the instance"),
        ({"url": "https://[", "issue_iid": 4}, "URL"),
    ],
)
async def test_places_that_do_not_fit(args: dict[str, Any], told: str) -> None:
    instance = Instance()
    with pytest.raises(ToolRefused, match=told):
        await run("get_issue", instance, **args)
    assert instance.asked == []


async def test_ids_and_a_url_that_agree() -> None:
    instance = Instance(ok({}))
    url = "https://gitlab.example.com/g/p/-/issues/3"
    await run("get_issue", instance, url=url, project_id=42, issue_iid=3)
    assert instance.asked == ["GET /api/v4/projects/g%2Fp/issues/3"]


@given(st.text(max_size=60))
async def test_no_text_leads_to_another_route(text: str) -> None:
    instance = Instance(ok({}))
    try:
        await run("get_commit", instance, project_id=text, commit_sha=text)
    except ToolRefused:
        assert instance.asked == []
        return
    (asked,) = instance.asked
    assert asked.count("/") == 7
    assert "?" not in asked
    assert ".." not in asked.split("/")


async def test_a_listing_tells_its_next_page() -> None:
    instance = Instance(ok([{"iid": 1, "description": "long"}], X_Next_Page="2"))
    found = await run("list_issues", instance, project_id=1)
    assert found == {"items": [{"iid": 1}], "next_page": "2"}


async def test_all_pages_are_read_up_to_a_bound() -> None:
    endless = Instance(*(ok([{"id": n}], X_Next_Page=str(n + 1)) for n in range(1, 100)))
    found = await run("list_all_merge_request_notes", endless, project_id=1, merge_request_iid=2)
    assert (len(found["items"]), found["complete"]) == (MAX_PAGES, False)
    two = Instance(ok([{"id": 1}], X_Next_Page="2"), ok([{"id": 2}]))
    found = await run("list_all_merge_request_notes", two, project_id=1, merge_request_iid=2)
    assert found == [{"id": 1}, {"id": 2}]
    assert two.asked[1].endswith("notes?per_page=100&page=2")


async def test_pages_end_where_they_are_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_CHARS", 1_000)
    pages = (ok([{"body": "x" * 600}], X_Next_Page=str(n + 1)) for n in range(1, 100))
    instance = Instance(*pages)
    found = await run("list_all_merge_request_notes", instance, project_id=1, merge_request_iid=2)
    assert (len(found["items"]), found["next_page"]) == (2, "3")
    monkeypatch.setattr(declared, "MAX_CHARS", 1_000)
    query = Instance(*(findings(n, f"c{n}", "y" * 600) for n in range(1, 100)))
    told = await run("list_vulnerabilities", query, project_full_path="g/p")
    assert (len(told["nodes"]), told["pageInfo"]["hasNextPage"]) == (2, True)


def findings(number: int, cursor: str, text: str = "") -> Answer:
    page = {"hasNextPage": bool(cursor), "endCursor": cursor}
    found = {"nodes": [text or number], "pageInfo": page}
    return ok({"data": {"project": {"vulnerabilities": found}}})


async def test_all_pages_of_a_query_are_read() -> None:
    instance = Instance(findings(1, "c1"), findings(2, ""))
    assert await run("list_vulnerabilities", instance, project_full_path="g/p") == [1, 2]
    assert [body["variables"].get("after") for body in instance.bodies] == [None, "c1"]


async def test_one_page_of_a_query() -> None:
    instance = Instance(findings(1, "c1"))
    found = await run(
        "list_vulnerabilities", instance, project_full_path="g/p", fetch_all_pages=False
    )
    assert found["pageInfo"]["endCursor"] == "c1"


async def test_a_number_is_looked_up_where_a_path_is_needed() -> None:
    types = {"namespace": {"workItemTypes": {"nodes": [{"id": "t1", "name": "Task"}]}}}
    created: Any = {"workItemCreate": {"errors": [], "workItem": {"iid": "5"}}}
    instance = Instance(
        ok({"path_with_namespace": "g/p"}), ok({"data": types}), ok({"data": created})
    )
    found = await run("create_work_item", instance, project_id=9, title="T", type_name="task")
    assert found == {"iid": "5"}
    assert instance.bodies[2]["variables"] == {
        "input": {"namespacePath": "g/p", "title": "T", "workItemTypeId": "t1"}
    }


async def test_a_weight_is_taken_off() -> None:
    item = {"namespace": {"workItem": {"id": "gid://gitlab/WorkItem/1"}}}
    changed: Any = {"workItemUpdate": {"errors": [], "workItem": {"iid": "5"}}}
    instance = Instance(ok({"data": item}), ok({"data": changed}))
    await run("update_work_item", instance, project_id="g/p", work_item_iid=5, clear_weight=True)
    assert instance.bodies[1]["variables"]["input"] == {
        "id": "gid://gitlab/WorkItem/1",
        "weightWidget": {"weight": None},
    }


async def test_what_is_not_found_is_told_with_what_there_is() -> None:
    types = {"namespace": {"workItemTypes": {"nodes": [{"id": "t1", "name": "Task"}]}}}
    instance = Instance(ok({"data": types}))
    with pytest.raises(ToolRefused, match="'epic'; there are: Task"):
        await run("create_work_item", instance, project_id="g/p", title="T", type_name="Epic")


REFUSALS: list[tuple[Answer, str]] = [
    ((404, {"message": "404 Project Not Found"}, {}), "answered 404: 404 Project Not Found"),
    ((403, {"error": "insufficient_scope"}, {}), "answered 403: insufficient_scope"),
    ((400, {"message": {"title": ["is too long"]}}, {}), "is too long"),
    ((302, "", {}), "answered 302"),
    ((200, "<html>", {}), "JSON"),
]


@pytest.mark.parametrize(("answer", "told"), REFUSALS)
async def test_refusals_of_the_instance_are_told(answer: Answer, told: str) -> None:
    with pytest.raises(ToolRefused, match=told):
        await run("get_project", Instance(answer), project_id=1)


async def test_errors_of_a_mutation_are_told() -> None:
    instance = Instance(ok({"data": {"vulnerabilityConfirm": {"errors": ["not allowed"]}}}))
    with pytest.raises(ToolRefused, match="not allowed"):
        await run("confirm_vulnerability", instance, vulnerability_id="4")


async def test_an_id_that_is_none_is_refused() -> None:
    with pytest.raises(ToolRefused, match="is no id"):
        await run("confirm_vulnerability", Instance(), vulnerability_id="x) { y }")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tools: [{name: a1, group: RG, description: Says something., title: Say}]", "exactly one"),
        (
            "tools: [{name: a1, group: RG, description: Says something., title: Say, rest: GET /x,"
            " args: {b1: text}}]",
            "args.b1",
        ),
        (
            "tools: [{name: a1, group: RG, description: Says something., title: Say,"
            " rest: 'GET /x/{nobody}'}]",
            "nobody",
        ),
        (
            "tools: [{name: a1, group: RG, description: Says something., title: Say,"
            " rest: GET /x, args: {b1: str}}]",
            "explained nowhere",
        ),
        ("tools: [{name: a1, colour: red}]", "unknown field"),
    ],
)
def test_a_declaration_that_is_wrong_is_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "words.yml").write_text("words: {}")
    (tmp_path / "x.yml").write_text(text)
    with pytest.raises(ValueError, match=f"x.yml.*{told}"):
        declared.load(tmp_path)

"""Tools with logic of their own that work on the instance, and those that only think."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.contract.contract_pb2 import ActionResponse, ScheduleNotificationResponse
from isthmus.core.errors import ToolRefused
from isthmus.platform.tool import Tool, specification
from isthmus.platform.toolbox import all_tools
from isthmus.platform.tools.gitlab_api_get import path_of
from isthmus.platform.tools.gitlab_graphql import printed
from tests.support.instance import Instance, ok

TOOLS = all_tools()
TABLE: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[3] / "wire" / "tools" / "table.json").read_text()
)
EFFECTS = {
    "D": "plan",
    "RF": "read",
    "WF": "write",
    "RC": "run",
    "UG": "git",
    "RG": "gitlab_read",
    "RW": "gitlab_write",
    "SF": "flows",
    "C": "notify",
}
MR = {"project_id": 1, "merge_request_iid": 2}
MR_PATH = "/api/v4/projects/1/merge_requests/2"


def file(text: str) -> Any:
    return ok({"content": b64encode(text.encode()).decode()})


@pytest.mark.parametrize("name", TABLE)
def test_each_tool_of_the_contract_is_there(name: str) -> None:
    tool = TOOLS[name]
    for row, variant in zip(TABLE[name], [tool, *(one for _, one in tool.variants)], strict=True):
        assert (variant.effect, variant.version) == (EFFECTS[row["group"]], row["version"])
        shown: Any = json.loads(json.dumps(specification(variant)))["function"]["parameters"]
        (schema,) = [d for n, d in shown["$defs"].items() if shown["$ref"].endswith(f"/{n}")]
        needed = set(schema.get("required", []))
        names = {n if n in needed else f"{n}?" for n in schema.get("properties", {})}
        assert sorted(names) == row["args"]


def test_no_tool_is_there_that_the_contract_does_not_have() -> None:
    assert set(TOOLS) == set(TABLE)


async def test_diffs_leave_protected_files_out() -> None:
    diffs = [
        {"old_path": ".env", "new_path": "x", "diff": "secret"},
        {"new_path": "a", "diff": "d"},
    ]
    instance = Instance(ok(diffs))
    found = await instance.read(TOOLS["list_merge_request_diffs"], **MR)
    assert found == [{"new_path": "x", "diff": "excluded due to policy"}, diffs[1]]
    assert instance.asked == [f"GET {MR_PATH}/diffs?per_page=100&page=1"]
    other = Instance(ok(diffs))
    await other.read(TOOLS["get_commit_diff"], project_id="g/p", commit_sha="abc")
    assert other.asked == [
        "GET /api/v4/projects/g%2Fp/repository/commits/abc/diff?per_page=100&page=1"
    ]


async def test_discussions_are_narrowed_and_cut() -> None:
    def note(author: str, *, resolvable: bool) -> dict[str, Any]:
        said = {"username": author}
        return {
            "id": 1,
            "author": said,
            "body": "x" * 3000,
            "resolvable": resolvable,
            "resolved": True,
        }

    listed = [
        {"id": "d1", "notes": [note("ann", resolvable=True)]},
        {"id": "d2", "notes": [note("bob", resolvable=False)]},
    ]
    tool = TOOLS["list_mr_discussions"]
    (only,) = await Instance(ok(listed)).read(tool, **MR, only_from_author="ann")
    assert (only["id"], only["resolved"], len(only["notes"][0]["body"])) == ("d1", True, 2000)
    (only,) = await Instance(ok(listed)).read(tool, **MR, only_resolvable=True)
    assert only["id"] == "d1"


async def test_failed_jobs_of_a_merge_requests_latest_pipeline() -> None:
    jobs = [{"id": n, "name": f"j{n}", "allow_failure": n == 2} for n in range(1, 30)]
    instance = Instance(ok([{"id": 4, "project_id": 9}, {"id": 7, "project_id": 9}]), ok(jobs))
    found = await instance.read(
        TOOLS["get_pipeline_failing_jobs"], **MR, exclude_allow_failure=True
    )
    assert (found["pipeline_id"], len(found["jobs"]), found["failed"]) == ("7", 20, 28)
    assert instance.asked[1].startswith(
        "GET /api/v4/projects/9/pipelines/7/jobs?scope%5B%5D=failed"
    )


async def test_pipelines_by_their_address() -> None:
    url = "https://gitlab.example.com/g/p/-/pipelines/5"
    bridges = [{"status": "failed", "downstream_pipeline": {"id": 6}}, {"status": "success"}]
    failed = Instance(ok(bridges))
    assert await failed.read(TOOLS["get_failing_bridge_jobs"], url=url) == bridges[:1]
    assert failed.asked == ["GET /api/v4/projects/g%2Fp/pipelines/5/bridges?per_page=100&page=1"]
    started = Instance(ok(bridges))
    assert await started.read(TOOLS["get_downstream_pipelines"], url=url) == [{"id": 6}]
    with pytest.raises(ToolRefused, match="address of a pipeline"):
        await Instance().run(
            TOOLS["get_downstream_pipelines"], url=url.replace("pipelines", "jobs")
        )


async def test_logs_and_their_windows() -> None:
    tool = TOOLS["get_job_logs"]
    assert await Instance(ok("a log")).run(tool, project_id=1, job_id=3) == "a log"
    with pytest.raises(ToolRefused, match="only whole"):
        await Instance().run(tool, project_id=1, job_id=3, byte_offset=5)
    able = Instance(ok("og"), has={"job_trace_pagination"})
    assert await able.run(tool, project_id=1, job_id=3, byte_offset=3, byte_limit=2) == "og"
    assert able.asked == ["GET /api/v4/projects/1/jobs/3/trace?byte_offset=3&byte_limit=2"]
    assert tool.keep.tail


async def test_a_window_of_a_file_of_the_repository() -> None:
    url = "https://gitlab.example.com/g/p/-/blob/main/src/a.py"
    instance = Instance(file("1\n2\n3\n4\n"))
    found = await instance.run(TOOLS["get_repository_file"], url=url, offset=1, limit=2)
    assert found.startswith("2\n3\n\n[Lines 2 to 3 of 4")
    assert instance.asked == ["GET /api/v4/projects/g%2Fp/repository/files/src%2Fa.py?ref=main"]
    with pytest.raises(ToolRefused, match="excluded"):
        await Instance().run(TOOLS["get_repository_file"], project_id=1, file_path=".env")
    picture = ok({"content": b64encode(b"\xff\xfe").decode()})
    with pytest.raises(ToolRefused, match="not a text file"):
        await Instance(picture).run(TOOLS["get_repository_file"], project_id=1, file_path="a.png")


async def test_several_files_each_with_its_fate() -> None:
    instance = Instance(file("one"), (404, {"message": "404 File Not Found"}, {}))
    found = await instance.read(
        TOOLS["get_repository_files"],
        project_id=1,
        file_paths=["a", ".env", "b", "c"],
        per_page=3,
    )
    assert found["a"] == {"content": "one"}
    assert found[".env"] == {"error": "excluded due to policy"}
    assert "404" in found["b"]["error"]
    assert found["not_read"] == ["c"]


async def test_files_end_where_they_are_large_enough() -> None:
    big = file("x" * 1_048_576)
    several = Instance(big)
    found = await several.read(
        TOOLS["get_repository_files"], project_id=1, file_paths=[f"f{n}" for n in range(9)]
    )
    fates = [next(iter(fate)) for fate in found.values()]
    assert fates == ["content"] + ["error"] * 8
    diffs = [{"old_path": f"f{n}", "new_path": f"f{n}", "diff": "d"} for n in range(9)]
    review = Instance(ok({"iid": 2, "diff_refs": {"base_sha": "b"}}), ok(diffs), ok([]), big)
    shown = await review.read(TOOLS["build_review_merge_request_context"], **MR)
    assert list(shown["original_files"]) == ["f0"]


async def test_a_commit_replaces_a_text_that_is_there_once() -> None:
    tool = TOOLS["create_commit"]
    change = {"action": "update", "file_path": "a", "old_str": "x", "new_str": "y"}
    instance = Instance(file("a x b"), ok({"id": "c1"}))
    args = {"project_id": 1, "branch": "b", "commit_message": "m"}
    assert await instance.read(tool, **args, actions=[change]) == {"id": "c1"}
    assert instance.bodies[1]["actions"] == [
        {"action": "update", "file_path": "a", "content": "a y b"}
    ]
    with pytest.raises(ToolRefused, match="2 times"):
        await Instance(file("x x")).run(tool, **args, actions=[change])
    for path in (".git/config", "../x"):
        made = {"action": "create", "file_path": path, "content": ""}
        with pytest.raises(ToolRefused, match="protected"):
            await Instance().run(tool, **args, actions=[made])
    with pytest.raises(ToolRefused, match="branch"):
        await Instance().run(tool, project_id=1, commit_message="m", actions=[change])


async def test_a_review_is_published_at_once() -> None:
    shown = {"diff_refs": {"base_sha": "b", "start_sha": "s", "head_sha": "h"}}
    renamed = [{"new_path": "a", "old_path": "old"}]
    instance = Instance(ok(shown), ok(renamed), ok({}), (400, {}, {}), ok(""), ok({}))
    comments = [
        {"file": "a", "body": "wrong", "new_line": 3, "suggestion": "right"},
        {"file": "a", "body": "elsewhere", "new_line": 9},
    ]
    found = await instance.read(
        TOOLS["submit_mr_review"],
        **MR,
        comments=comments,
        verdict="requested_changes",
        summary="All in all",
    )
    assert (found["published"], found["not_placed"][0]["file"]) == (1, "a")
    draft, publish, note = instance.bodies[2], instance.bodies[4], instance.bodies[5]
    assert draft["position"]["old_path"] == "old"
    assert "```suggestion:-0+0\nright\n```" in draft["note"]
    assert publish == {"reviewer_state": "requested_changes"}
    assert note["body"].startswith("All in all") and "`a:9` elsewhere" in note["body"]  # noqa: PT018
    assert "wrong" not in note["body"]


async def test_remarks_on_a_public_project_go_into_an_internal_summary() -> None:
    instance = Instance(ok({}), ok({"visibility": "public"}), ok({}))
    found = await instance.read(
        TOOLS["submit_mr_review"],
        **MR,
        comments=[{"file": "a", "body": "a hole", "new_line": 1}],
        fold_inline_into_summary_when_public=True,
    )
    assert found["published"] == 0
    assert instance.bodies[2]["internal"] is True
    assert "a hole" in instance.bodies[2]["body"]


async def test_replies_go_to_the_thread_of_a_note() -> None:
    threads = [{"id": "t0", "notes": [{"id": 1}]}, {"id": "t1", "notes": [{"id": 5}]}]
    instance = Instance(ok(threads), ok({}))
    await instance.run(TOOLS["create_merge_request_note"], **MR, body="yes", note_id=5)
    assert instance.asked[1] == f"POST {MR_PATH}/discussions/t1/notes"
    plain = Instance(ok({}))
    await plain.run(TOOLS["create_issue_note"], project_id=1, issue_iid=4, body="b", internal=True)
    assert plain.asked == ["POST /api/v4/projects/1/issues/4/notes"]
    assert plain.bodies == [{"body": "b", "internal": True}]
    with pytest.raises(ToolRefused, match="no note 9"):
        await Instance(ok(threads)).run(
            TOOLS["create_issue_note"], project_id=1, issue_iid=4, body="b", note_id=9
        )


async def test_a_comment_stands_at_a_line() -> None:
    shown = {"diff_refs": {"base_sha": "b", "start_sha": "s", "head_sha": "h"}}
    instance = Instance(ok(shown), ok({}))
    place = {"old_path": "a", "new_path": "a"}
    await instance.run(TOOLS["create_merge_request_diff_note"], **MR, **place, body="x", new_line=3)
    assert instance.bodies[1]["position"] == {
        "position_type": "text",
        "base_sha": "b",
        "start_sha": "s",
        "head_sha": "h",
        **place,
        "new_line": 3,
    }
    with pytest.raises(ToolRefused, match="new_line"):
        await Instance().run(TOOLS["create_merge_request_diff_note"], **MR, **place, body="x")


async def test_the_context_of_a_review() -> None:
    shown = {"iid": 2, "title": "T", "diff_refs": {"base_sha": "b"}, "web_url": "https://x/mr"}
    diffs = [{"old_path": "a", "new_path": "a", "diff": "d"}]
    instance = Instance(ok(shown), ok(diffs), ok([{"rule": "be kind"}]), file("before"))
    found = await instance.read(
        TOOLS["build_review_merge_request_context"], **MR, include_diff_links=True
    )
    assert found["original_files"] == {"a": "before"}
    assert found["custom_instructions"] == [{"rule": "be kind"}]
    assert found["diffs"][0]["url"] == "https://x/mr/diffs"
    short = Instance(ok(shown), ok(diffs))
    only = await short.read(TOOLS["build_review_merge_request_context"], **MR, only_diffs=True)
    assert set(only) == {"diffs"}


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("projects/1/issues", "/api/v4/projects/1/issues"),
        ("/api/v4/user", "/api/v4/user"),
        ("api/v4/user", "/api/v4/user"),
        ("projects/g%2Fp/work_items/3", "/api/v4/projects/g%2Fp/issues/3"),
    ],
)
def test_plain_paths_of_the_api(endpoint: str, path: str) -> None:
    assert path_of(endpoint) == path


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil.example/api/v4/user",
        "//evil.example/api/v4/user",
        "user?private_token=x",
        "user#x",
        "../admin",
        "/api/v4/%2e%2e/%2e%2e/admin",
        "/api/v4/%252e%252e/admin",
        "/api/v4/user%00",
        "/api/v4/user\r\nHost: x",
        "/api/graphql",
        "/api/v4/a\\b",
    ],
)
def test_paths_that_lead_elsewhere(endpoint: str) -> None:
    with pytest.raises(ToolRefused):
        path_of(endpoint)


@given(st.text(max_size=80))
def test_whatever_is_asked_for_stays_below_the_api(text: str) -> None:
    try:
        path = path_of(text)
    except ToolRefused:
        return
    assert path.startswith("/api/v4/")
    assert ".." not in path.split("/")
    assert not any(mark in path for mark in "?#\r\n\0 ")


async def test_the_api_gives_no_protected_file_either() -> None:
    for name in (".env", "a%2F.ssh%2Fid", "%2Eenv"):
        instance = Instance()
        with pytest.raises(ToolRefused, match="excluded"):
            await instance.run(
                TOOLS["gitlab_api_get"], endpoint=f"projects/1/repository/files/{name}/raw"
            )
        assert instance.asked == []


async def test_the_api_answers_with_its_pages() -> None:
    instance = Instance(ok([1], X_Next_Page="2", X_Total="9"))
    found = await instance.read(
        TOOLS["gitlab_api_get"], endpoint="projects", params={"per_page": 1, "owned": True}
    )
    assert found == {
        "status": "success",
        "data": [1],
        "pagination": {"next_page": "2", "total": "9"},
    }
    assert instance.asked == ["GET /api/v4/projects?per_page=1&owned=true"]


def test_queries_are_printed_from_their_tree() -> None:
    assert (
        printed("query { user(id: 1) { ...F } } fragment F on User { name } # note").count("#") == 0
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mutation { x }", "Only queries"),
        ("subscription { x }", "Only queries"),
        ("query { x } mutation { y }", "Only queries"),
        ("type A { b: Int }", "must hold one query"),
        ("query {", "cannot be read"),
        ("{ a " * 5000, "cannot be read"),
    ],
)
def test_only_queries_are_sent(text: str, told: str) -> None:
    with pytest.raises(ToolRefused, match=told):
        printed(text)


async def test_a_query_and_its_answer() -> None:
    instance = Instance(ok({"data": {"a": 1}}))
    found = await instance.read(TOOLS["gitlab_graphql"], query="{ a }", variables={"b": 2})
    assert found == {"status": "success", "data": {"a": 1}}
    assert instance.bodies[0]["variables"] == {"b": 2}


async def test_code_is_searched_where_the_client_may() -> None:
    tool = TOOLS["gitlab_blob_search"]
    plain = Instance(ok([]))
    await plain.run(tool, id="g/p", search="a b")
    assert plain.asked == ["GET /api/v4/projects/g%2Fp/search?scope=blobs&search=a+b"]
    for url, path in (
        ("/api/v4/search", "/api/v4/search"),
        ("/api/v4/groups/g%2Fh/search", "/api/v4/groups/g%2Fh/search"),
        ("/api/v4/projects/3/-/search", "/api/v4/projects/3/search"),
    ):
        able = Instance(ok([]), has={"advanced_search"})
        await able.run(tool, search="x", api_url=url)
        assert able.asked == [f"GET {path}?scope=blobs&search=x"]
    with pytest.raises(ToolRefused, match="three routes"):
        await Instance(has={"advanced_search"}).run(tool, search="x", api_url="/api/v4/users")


async def test_a_wiki_page_with_its_notes() -> None:
    instance = Instance(ok({"title": "T", "wiki_page_meta_id": 8}), ok([{"id": 1}]))
    found = await instance.read(TOOLS["get_wiki_page"], project_id="g/p", slug="a/b")
    assert found["notes"] == [{"id": 1}]
    assert instance.asked[0] == "GET /api/v4/projects/g%2Fp/wikis/a%2Fb"
    with pytest.raises(ToolRefused, match="one of"):
        await Instance().run(TOOLS["get_wiki_page"], slug="a")


async def test_another_session_in_short() -> None:
    log = [{"message_type": "agent", "content": "x" * 900, "tool_info": None}] * 40
    rows = [{"checkpoint": {"channel_values": {"ui_chat_log": log}}}]
    instance = Instance(ok({"id": 5, "status": "finished"}), ok(rows))
    found = await instance.read(TOOLS["get_session_context"], session_id=5)
    assert (found["status"], len(found["entries"])) == ("finished", 20)
    assert len(found["entries"][0]["content"]) == 300


@pytest.mark.parametrize(
    ("details", "verdict"),
    [
        ({"state": "DETECTED"}, "proceed"),
        ({"state": "DISMISSED"}, "skip"),
        ({"latestFlag": {"status": "DETECTED_AS_FP"}}, "skip"),
    ],
)
async def test_whether_a_finding_was_judged(details: Any, verdict: str) -> None:
    tool = TOOLS["evaluate_vuln_fp_status"]
    assert await Instance().run(tool, vulnerability_json=json.dumps(details)) == verdict
    with pytest.raises(ToolRefused, match="JSON"):
        await Instance().run(tool, vulnerability_json="[")


async def test_flows_are_started_with_what_they_need() -> None:
    instance = Instance(ok({"id": 7}))
    await instance.run(TOOLS["start_flow"], flow={"name": "developer", "goal": "do it"})
    assert instance.bodies == [{"goal": "do it", "workflow_definition": "developer/v1"}]
    with pytest.raises(ToolRefused, match=r"flow\.vulnerability_id"):
        await Instance().run(TOOLS["start_flow"], flow={"name": "sast_fp_detection"})


async def test_a_turn_is_scheduled() -> None:
    taken = ScheduleNotificationResponse(accepted=True, fires_at="2026-01-02T03:14:05Z")
    instance = Instance(ActionResponse(scheduleNotificationResponse=taken))
    when = {"type": "timer", "delay_minutes": 10}
    said = await instance.run(TOOLS["notify_me_when"], when=when, message="look again")
    assert "03:14:05" in said
    sent = instance.actions[0].scheduleNotification
    assert json.loads(sent.condition) == {"type": "timer", "deadline": "2026-01-02T03:14:05Z"}
    refused = ScheduleNotificationResponse(accepted=False, reason="full")
    with pytest.raises(ToolRefused, match="full"):
        await Instance(ActionResponse(scheduleNotificationResponse=refused)).run(
            TOOLS["notify_me_when"], when=when, message="x"
        )


async def test_files_are_read_together() -> None:
    instance = Instance('{"a": {"content": "x"}}')
    found = await instance.read(TOOLS["read_files"], file_paths=["a", ".env"])
    assert found == {"a": {"content": "x"}, ".env": {"error": "excluded due to policy"}}
    assert list(instance.actions[0].runReadFiles.filepaths) == ["a"]
    nothing = Instance()
    await nothing.run(TOOLS["read_files"], file_paths=[".env"])
    assert nothing.actions == []


async def test_commands_without_a_shell() -> None:
    tests = Instance("ok")
    await tests.run(TOOLS["run_tests"], command="pytest -k 'a b'")
    assert list(tests.actions[0].runCommand.arguments) == ["-k", "a b"]
    git = Instance("ok")
    await git.run(TOOLS["run_git_command"], repository_url="", command="add", args="-A")
    assert (git.actions[0].runCommand.program, list(git.actions[0].runCommand.arguments)) == (
        "git",
        ["add", "-A"],
    )
    for name, args in (
        ("run_tests", {"command": "'"}),
        ("run_tests", {"command": " "}),
        ("run_git_command", {"repository_url": "", "command": "add", "args": "'"}),
    ):
        with pytest.raises(ToolRefused):
            await Instance().run(TOOLS[name], **args)


async def test_lines_of_a_text() -> None:
    tool = TOOLS["extract_lines_from_text"]
    assert await Instance().run(tool, content="a\nb\nc", start_line=2) == "b\n"
    assert await Instance().run(tool, content="a\nb\nc", start_line=2, end_line=9) == "b\nc"
    with pytest.raises(ToolRefused):
        await Instance().run(tool, content="a", start_line=2)


def planned(tool: Tool, steps: Any, **args: Any) -> Any:

    assert tool.plans is not None
    return tool.plans(msgspec.convert(args, tool.args), steps)


def test_a_plan_and_its_changes() -> None:
    made = planned(TOOLS["create_plan"], (), tasks=["one", "two"])
    assert [step["id"] for step in made.steps] == ["task-1", "task-2"]
    more = planned(TOOLS["add_new_task"], made.steps, description="three")
    assert more.steps[2] == {"id": "task-3", "description": "three", "status": "Not Started"}
    done = planned(
        TOOLS["set_task_status"], more.steps, task_id="task-1", status="Completed", description="d"
    )
    assert done.steps[0]["status"] == "Completed"
    told = planned(
        TOOLS["update_task_description"], done.steps, task_id="task-2", new_description="zwei"
    )
    assert told.steps[1]["description"] == "zwei"
    less = planned(TOOLS["remove_task"], told.steps, task_id="task-1", description="d")
    assert [step["id"] for step in less.steps] == ["task-2", "task-3"]
    assert json.loads(planned(TOOLS["get_plan"], less.steps).text)["steps"] == list(less.steps)
    with pytest.raises(ToolRefused, match="task-2, task-3"):
        planned(TOOLS["remove_task"], less.steps, task_id="task-9", description="d")


async def test_an_interface_is_checked() -> None:
    tool = TOOLS["render_ui"]
    good = {
        "root": "a",
        "elements": {"a": {"type": "Card", "children": ["b"]}, "b": {"type": "Text"}},
    }
    assert json.loads(await Instance().run(tool, tree=good))["root"] == "a"
    for wrong, told in (
        ({"root": "x", "elements": {"a": {"type": "Text"}}}, "no part 'x'"),
        ({"root": "a", "elements": {"a": {"type": "Script"}}}, "is none of"),
        ({"root": "a", "elements": {"a": {"type": "Text", "children": ["a"]}}}, "holds no other"),
        ({"root": "a", "elements": {"a": {"type": "Card", "children": ["a"]}}}, "held twice"),
    ):
        with pytest.raises(ToolRefused, match=told):
            await Instance().run(tool, tree=wrong)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("todo_write", {"todos": [{"description": "d", "status": "pending"}]}),
        (
            "clarification_question",
            {
                "question": "Which?",
                "options": [
                    {"id": "a", "label": "A", "description": "d"},
                    {"id": "b", "label": "B", "description": "d"},
                ],
            },
        ),
        ("update_form_fields", {"form_id": "f", "select": ["x"]}),
        ("update_form_permissions", {"select": ["read_code"]}),
        ("set_form_permissions", {"select": {"project": ["read_code"]}}),
        ("get_glql_schema", {"data_source": "Epic"}),
    ],
)
async def test_tools_that_ask_nobody(name: str, args: dict[str, Any]) -> None:
    instance = Instance()
    assert await instance.read(TOOLS[name], **args)
    assert instance.actions == []


async def test_figures_are_asked_for() -> None:
    instance = Instance(ok({"rows": []}))
    await instance.run(TOOLS["run_glql_query"], glql_yaml="query: x", after="c")
    assert instance.asked == ["POST /api/v4/glql"]
    assert instance.bodies == [{"glql_yaml": "query: x", "after": "c"}]

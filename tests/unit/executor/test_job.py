"""A job's options: read from variables, turned into addresses, headers, messages and a result."""

import base64
import json

import pytest

from isthmus.contract.contract_pb2 import ActionResponse, Approval, ClientEvent, HeartbeatRequest
from isthmus.executor.address import BadAddress
from isthmus.executor.channel import Access
from isthmus.executor.client import Exit
from isthmus.executor.connect import claimed, dial, git_login, over_relay, trailers
from isthmus.executor.frames import BadFrame, decoded, encoded
from isthmus.executor.options import OPTIONS, VARIABLES, Wanted, is_job, is_on, wanted
from isthmus.executor.outcome import worded
from isthmus.executor.socket import SocketAccess, relay_url
from isthmus.executor.task import (
    Flow,
    Malformed,
    Task,
    context_of,
    decision_of,
    flow_config_of,
)
from tests.support.tokens import b64

MODEL = '{"name":"claude_sonnet_4_5_vertex","provider":"gitlab"}'
JOB = {
    "DUO_WORKFLOW_WORKFLOW_ID": "42",
    "DUO_WORKFLOW_GOAL": "fix it",
    "DUO_WORKFLOW_DEFINITION": "developer/v1",
    "DUO_WORKFLOW_SERVICE_SERVER": "isthmus.example.test:50052",
    "DUO_WORKFLOW_SERVICE_TOKEN": "service-token",
    "DUO_WORKFLOW_SERVICE_REALM": "self-managed",
    "DUO_WORKFLOW_GLOBAL_USER_ID": "g-3",
    "DUO_WORKFLOW_INSTANCE_ID": "uuid-1",
    "DUO_WORKFLOW_INSECURE": "false",
    "DUO_WORKFLOW_PROJECT_ID": "20",
    "DUO_WORKFLOW_NAMESPACE_ID": "10",
    "DUO_WORKFLOW_GIT_HTTP_BASE_URL": "https://isthmus.example.test",
    "DUO_WORKFLOW_GIT_HTTP_USER": "oauth",
    "DUO_WORKFLOW_GIT_HTTP_PASSWORD": "flow-token",
    "DUO_SESSION_TRACKING_ENABLED": "true",
    "AGENT_PLATFORM_GITLAB_VERSION": "19.0.0-ee",
    "AGENT_PLATFORM_MODEL_METADATA": MODEL,
    "AGENT_PLATFORM_FEATURE_SETTING_NAME": "duo_agent_platform",
    "GITLAB_BASE_URL": "https://isthmus.example.test/",
    "GITLAB_PROJECT_PATH": "group/app",
    "GITLAB_OAUTH_TOKEN": "flow-token",
}


def job(**flags: str) -> Wanted:
    return wanted(flags, JOB)


def test_options_come_from_flags_and_then_from_variables() -> None:
    options = job(goal="another goal")
    assert (options.goal, options.workflow_id, options.auth_token) == (
        "another goal",
        "42",
        "flow-token",
    )
    assert options.base_url == "https://isthmus.example.test"
    assert wanted({}, {"GITLAB_TOKEN": "a", "GITLAB_OAUTH_TOKEN": "b"}).auth_token == "a"
    assert wanted({}, {}) == Wanted()
    assert set(OPTIONS) | set(VARIABLES) == set(Wanted.__slots__)
    assert "token" not in repr(options).replace("token_", "").replace("fix it", "")
    assert is_job(JOB)
    assert not is_job({})


@pytest.mark.parametrize(
    ("text", "default", "on"),
    [("true", False, True), ("", True, True), ("false", True, False), ("x", False, False)],
)
def test_a_switch_has_a_default(text: str, default: bool, on: bool) -> None:
    assert is_on(text, default=default) is on


def test_a_job_over_the_relay_names_its_session() -> None:
    reached = dial(job(), "42")
    assert isinstance(reached, SocketAccess)
    place, _, query = reached.url.partition("?")
    assert place == "wss://isthmus.example.test/api/v4/ai/duo_workflows/ws"
    assert set(query.split("&")) == {
        "project_id=group%2Fapp",
        "root_namespace_id=10",
        "workflow_id=42",
        "workflow_definition=developer%2Fv1",
    }
    headers = {name.lower(): text for name, text in reached.headers}
    assert headers["x-gitlab-agent-platform-feature-setting-name"] == "duo_agent_platform"
    assert "flow-token" not in repr(reached)
    assert over_relay(job())
    with pytest.raises(BadAddress, match="token"):
        dial(Wanted(base_url="https://x.example.test"), "1")


def test_a_job_over_grpc_hands_the_model_on() -> None:
    reached = dial(job(connection_type="grpc"), "42")
    assert isinstance(reached, Access)
    assert (reached.address.target, reached.address.secure) == ("isthmus.example.test:50052", True)
    headers = dict(reached.metadata)
    assert headers["x-gitlab-agent-platform-model-metadata"] == MODEL
    assert headers["x-gitlab-global-user-id"] == "g-3"
    assert headers["x-gitlab-instance-id"] == "uuid-1"
    assert headers["x-gitlab-version"] == "19.0.0-ee"
    assert headers["x-gitlab-oauth-token"] == "flow-token"
    assert headers["authorization"] == "Bearer service-token"
    assert "-token'" not in repr(reached)
    clear = dial(job(connection_type="grpc", insecure="true"), "42")
    assert isinstance(clear, Access)
    assert not clear.address.secure
    with pytest.raises(BadAddress, match="SERVICE_SERVER"):
        dial(Wanted(connection_type="grpc"), "1")


@pytest.mark.parametrize("url", ["", "ftp://x", "https://u:p@x", "isthmus.example.test"])
def test_an_instance_has_a_plain_web_address(url: str) -> None:
    with pytest.raises(BadAddress):
        relay_url(url, {})


def test_a_relay_below_a_path_is_found() -> None:
    url = relay_url("http://127.0.0.1:5052/gitlab/", {"a": "", "b": "1"})
    assert url == "ws://127.0.0.1:5052/gitlab/api/v4/ai/duo_workflows/ws?b=1"


def test_git_gets_a_login_for_the_instance_alone() -> None:
    before = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    given = git_login(job(), before)
    assert given["GIT_CONFIG_COUNT"] == "2"
    assert given["GIT_CONFIG_KEY_1"] == "http.https://isthmus.example.test/.extraHeader"
    login = given["GIT_CONFIG_VALUE_1"].removeprefix("Authorization: Basic ")
    assert base64.b64decode(login) == b"oauth:flow-token"
    assert git_login(Wanted(), {}) == {}


def test_commits_of_a_tracked_session_name_it() -> None:
    _, session = trailers(job(), "42")
    place = "https://isthmus.example.test/group/app/-/automate/agent-sessions/42"
    assert session == f"Duo-Session: {place}"
    assert trailers(Wanted(), "42") == ()


def test_the_headers_repeat_what_the_token_claims() -> None:
    claims = {"sub": "me", "gitlab_realm": "saas", "exp": 1, "x": "a\nb"}
    token = f"h.{b64(json.dumps(claims).encode())}.s"
    assert claimed(token) == {"sub": "me", "gitlab_realm": "saas"}


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.%%.c", "a.W10.c", f"a.{b64(b'[' * 9000)}.c"])
def test_a_token_that_is_none_claims_nothing(token: str) -> None:
    assert claimed(token) == {}


def test_a_task_says_everything_at_first_and_its_flow_each_time() -> None:
    config = flow_config_of('{"version":"v1","components":[{"name":"a"}]}')
    context = context_of('[{"Category":"issue","Content":{"id":1},"Metadata":"{}"}]')
    flow = Flow(config, "developer", "v1", "^1.0.0")
    task = Task("42", "do it", "developer/v1", flow, '{"a":1}', context)
    first, again = task.first(), task.start()
    assert (first.goal, again.goal) == ("do it", "")
    assert first.additional_context[0].content == '{"id":1}'
    assert not again.additional_context
    for start in (first, again):
        assert start.flowConfig["version"] == "v1"
        assert (start.flowConfigId, start.flowVersion) == ("developer", "^1.0.0")
        assert (start.flowConfigSchemaVersion, start.workflowMetadata) == ("v1", '{"a":1}')
    plain = Task("42", "x").first()
    assert not plain.HasField("flowConfig")
    assert not plain.HasField("flowConfigId")


def test_a_decision_goes_before_the_goal() -> None:
    task = Task("42", "do it", decision=decision_of("false", "use ls"))
    first = task.first()
    assert first.goal == ""
    assert first.approval.rejection.message == "use ls"
    assert not task.approved
    assert Task("42", "", decision=decision_of("once", "")).approved
    assert decision_of("true", "ignored") == Approval(approval=Approval.Approved())
    assert decision_of("", "") is None


@pytest.mark.parametrize(
    "read",
    [
        lambda: decision_of("maybe", ""),
        lambda: flow_config_of("[]"),
        lambda: flow_config_of("{"),
        lambda: context_of("{}"),
        lambda: context_of('[{"content":"x"}]'),
        lambda: context_of(json.dumps([{"category": "x"}] * 101)),
        lambda: flow_config_of('{"a":' * 5000 + "1" + "}" * 5000),
    ],
)
def test_a_malformed_option_is_named(read: "object") -> None:
    assert callable(read)
    with pytest.raises(Malformed, match="--"):
        read()


def test_frames_have_the_contracts_names() -> None:
    answer = ActionResponse(requestID="r", plainTextResponse={"response": "x"})
    assert json.loads(encoded(ClientEvent(actionResponse=answer))) == {
        "actionResponse": {"requestID": "r", "plainTextResponse": {"response": "x"}}
    }
    beat = ClientEvent(heartbeat=HeartbeatRequest(timestamp=1760000000000))
    assert json.loads(encoded(beat)) == {"heartbeat": {"timestamp": "1760000000000"}}
    start = ClientEvent(
        startRequest=Task("1", "x", context=context_of('[{"category":"a"}]')).first()
    )
    assert "additional_context" in json.loads(encoded(start))["startRequest"]
    action = decoded(
        b'{"requestID":"7","runReadFile":{"filepath":"a","limit":"5","offset":3},"new":1}'
    )
    assert (action.requestID, action.runReadFile.limit, action.runReadFile.offset) == ("7", 5, 3)
    found = decoded('{"requestID":"","findFiles":{"name_pattern":"*"},"mkdir":null}')
    assert found.findFiles.name_pattern == "*"


@pytest.mark.parametrize("frame", ["", "{", b"\xff", '{"mkdir":3}', "[" * 100_000])
def test_a_frame_that_is_none_is_told(frame: str | bytes) -> None:
    with pytest.raises(BadFrame):
        decoded(frame)


def test_the_result_is_text_or_one_document() -> None:
    assert worded("", Exit.DONE, "42", "All done.", "") == "All done.\n"
    assert worded("text", Exit.FAILED, "42", "", "why") == ""
    done = json.loads(worded("json", Exit.DONE, "42", "All done.", ""))
    assert done == {
        "status": "success",
        "exitCode": 0,
        "workflowId": "42",
        "result": "All done.",
    }
    gone = json.loads(worded("json", Exit.GONE, "42", "", "The server is gone"))
    assert (gone["status"], gone["exitCode"], gone["error"]) == ("error", 75, "The server is gone")

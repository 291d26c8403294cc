"""The session contract, field by field, and that it only grows.

The table is section 1 of the agent-platform contract: message, then `number name[:json name]`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.contract import contract_pb2

ROOT = Path(__file__).resolve().parents[3]
BUF = Path(sys.executable).parent / "buf"
RELEASED = "proto/released/contract.binpb"

TABLE = """
ClientEvent                  1 startRequest, 2 actionResponse, 3 heartbeat, 4 stopWorkflow
StartWorkflowRequest         1 clientVersion, 2 workflowID, 3 workflowDefinition, 4 goal, 5 workflowMetadata, 6 clientCapabilities, 8 mcpTools, 9 additional_context=, 10 approval?, 11 flowConfig?, 12 flowConfigSchemaVersion?, 13 preapproved_tools=, 14 flowConfigId?, 15 flowVersion?, 16 streaming?, 17 resume_checkpoint_ts?=
ActionResponse               1 requestID, 3 plainTextResponse, 4 httpResponse, 5 scheduleNotificationResponse
PlainTextResponse            1 response, 2 error
HttpResponse                 1 headers, 2 statusCode, 3 body, 4 error
ScheduleNotificationResponse 1 accepted, 2 reason, 3 fires_at=
HeartbeatRequest             1 timestamp
StopWorkflowRequest          1 reason
Action                       1 requestID, 2 runCommand, 3 runHTTPRequest, 4 runReadFile, 5 runWriteFile, 6 runGitCommand, 7 runEditFile, 8 newCheckpoint, 9 listDirectory, 10 grep, 11 findFiles, 12 runMCPTool, 13 mkdir, 14 runReadFiles, 15 runShellCommand, 16 trackLlmCallForSelfHosted, 17 scheduleNotification
RunCommandAction             3 program, 4 arguments, 5 flags, 6 timeout?
RunHTTPRequest               1 method, 2 path, 3 body?
ReadFile                     1 filepath, 2 limit?, 3 offset?
ReadFiles                    1 filepaths
WriteFile                    1 filepath, 2 contents
RunGitCommand                1 command, 2 arguments?, 3 repository_url=
EditFile                     1 filepath, 2 oldString, 3 newString
ListDirectory                1 directory
Grep                         1 search_directory=, 2 pattern, 3 case_insensitive=
FindFiles                    1 name_pattern=
Mkdir                        1 directory_path=
RunMCPTool                   1 name, 2 args
RunShellCommand              1 command, 2 timeout?
TrackLlmCallForSelfHosted    1 workflowID, 2 featureQualifiedName, 3 featureAiCatalogItem
ScheduleNotification         1 task_id=, 2 condition, 3 message
NewCheckpoint                1 status, 2 checkpoint, 3 goal, 4 errors, 5 agent_context_usage, 6 model_metadata_json?=
TokenBreakdown               1 total_tokens, 2 max_tokens
GenerateTokenRequest         1 workflowDefinition?
GenerateTokenResponse        1 token, 2 expiresAt, 3 server_capabilities
ListCapabilitiesRequest
Capability                   1 name, 2 metadata
ListCapabilitiesResponse     1 capabilities
ListToolsRequest
ListToolsResponse            1 tools, 2 eval_dataset=
ListFlowsRequest             1 filters?
ListFlowsRequestFilter       2 environment, 3 version, 4 flow_identifier=
ListFlowsResponse            1 configs
ValidateFlowConfigRequest    1 flow_config=
ValidateFlowConfigResponse   1 valid, 2 errors
TrackSelfHostedClientEvent   1 requestID, 2 workflowID, 3 featureQualifiedName, 4 featureAiCatalogItem
TrackSelfHostedAction        1 requestID
McpTool                      1 name, 2 description, 3 inputSchema, 4 icons?, 5 annotations?, 6 trusted?
Icons                        1 items
Icon                         1 url, 2 mime_type?, 3 sizes, 4 theme?
ToolAnnotations              1 title?, 2 read_only_hint?, 3 destructive_hint?, 4 idempotent_hint?, 5 open_world_hint?
AdditionalContext            1 category, 2 id?, 3 content?, 4 metadata?
OsInformationContext         1 platform, 2 architecture
ShellInformationContext      1 shell_name=, 2 shell_type=, 3 shell_variant?=, 4 shell_environment?=, 5 ssh_session?=, 6 cwd?
Approval                     1 approval, 2 rejection
Approval.Approved            1 remember_approval?=, 2 tool_name?=, 3 tool_args_json?=, 4 approval_source?=, 5 policy_ref?=
Approval.Rejected            1 message?
Approval.PolicyRef           1 origin?, 2 file?, 3 hash?, 4 version?
"""  # noqa: E501 - a row of a table is a line

ROWS = [
    (line.split()[0], line[len(line.split()[0]) :].strip()) for line in TABLE.strip().split("\n")
]


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def described(message: str) -> str:
    """A message as a row of the table: `?` is explicit presence, `=` a json name as the field's."""
    top, *inner = message.split(".")
    descriptor = contract_pb2.DESCRIPTOR.message_types_by_name[top]
    for name in inner:
        descriptor = descriptor.nested_types_by_name[name]
    parts: list[str] = []
    for field in sorted(descriptor.fields, key=lambda field: field.number):
        optional = field.containing_oneof is not None and field.containing_oneof.name.startswith(
            "_"
        )
        mark = "=" if "_" in field.name and field.json_name == field.name else ""
        assert field.json_name in {field.name, camel(field.name)}
        parts.append(f"{field.number} {field.name}{'?' if optional else ''}{mark}")
    return ", ".join(parts)


@pytest.mark.parametrize(("message", "fields"), ROWS, ids=[name for name, _ in ROWS])
def test_fields_have_their_numbers_names_and_json_names(message: str, fields: str) -> None:
    assert described(message) == fields


def test_no_message_is_missing_from_the_table() -> None:
    top = {name.split(".")[0] for name, _ in ROWS}
    assert set(contract_pb2.DESCRIPTOR.message_types_by_name) == top


def test_the_service_has_no_package_and_its_methods_stream_as_they_should() -> None:
    service = contract_pb2.DESCRIPTOR.services_by_name["DuoWorkflow"]
    assert (contract_pb2.DESCRIPTOR.package, service.full_name) == ("", "DuoWorkflow")
    assert {
        method.name: (method.input_type.name, method.output_type.name) for method in service.methods
    } == {
        "ExecuteWorkflow": ("ClientEvent", "Action"),
        "GenerateToken": ("GenerateTokenRequest", "GenerateTokenResponse"),
        "ListCapabilities": ("ListCapabilitiesRequest", "ListCapabilitiesResponse"),
        "ListTools": ("ListToolsRequest", "ListToolsResponse"),
        "ListFlows": ("ListFlowsRequest", "ListFlowsResponse"),
        "TrackSelfHostedExecuteWorkflow": ("TrackSelfHostedClientEvent", "TrackSelfHostedAction"),
        "ValidateFlowConfig": ("ValidateFlowConfigRequest", "ValidateFlowConfigResponse"),
    }
    source = (ROOT / "proto/contract.proto").read_text(encoding="utf-8")
    streaming = [line.strip() for line in source.split("\n") if "stream " in line and "rpc" in line]
    assert [line.split()[1].partition("(")[0] for line in streaming] == [
        "ExecuteWorkflow",
        "TrackSelfHostedExecuteWorkflow",
    ]


def test_approval_sources_keep_their_numbers() -> None:
    approval = contract_pb2.DESCRIPTOR.message_types_by_name["Approval"]
    source = approval.enum_types_by_name["ApprovalSource"]
    assert {value.name: value.number for value in source.values} == {
        "APPROVAL_SOURCE_UNSPECIFIED": 0,
        "APPROVAL_SOURCE_USER_EXPLICIT": 1,
        "APPROVAL_SOURCE_PRETOOLUSE_HOOK": 2,
        "APPROVAL_SOURCE_AUTO_MODE": 3,
        "APPROVAL_SOURCE_PREAPPROVED_CONFIG": 4,
    }


@pytest.mark.parametrize(
    ("message", "numbers", "names"),
    [
        ("StartWorkflowRequest", {7}, set[str]()),
        ("ActionResponse", {2}, {"response"}),
        ("RunCommandAction", {1, 2}, {"command", "withGitCredentials"}),
        ("ListFlowsRequestFilter", {1}, {"name"}),
        ("ValidateFlowConfigRequest", {2}, {"schema_version"}),
    ],
)
def test_what_was_used_once_stays_reserved(
    message: str, numbers: set[int], names: set[str]
) -> None:
    from google.protobuf.descriptor_pb2 import DescriptorProto

    proto = DescriptorProto()
    contract_pb2.DESCRIPTOR.message_types_by_name[message].CopyToProto(proto)
    assert {n for part in proto.reserved_range for n in range(part.start, part.end)} == numbers
    assert set(proto.reserved_name) == names


def breaking(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BUF), "breaking", "proto", "--against", RELEASED],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_old_clients_keep_working() -> None:
    done = breaking(ROOT)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("string goal = 4;", "string goal = 44;", "goal"),
        ("bool case_insensitive = 3", "string case_insensitive = 3", "case_insensitive"),
        (' [json_name = "fires_at"]', "", "json_name"),
    ],
    ids=["number", "type", "json name"],
)
def test_a_change_that_breaks_clients_is_found(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    (tmp_path / "proto/released").mkdir(parents=True)
    (tmp_path / "buf.yaml").write_bytes((ROOT / "buf.yaml").read_bytes())
    (tmp_path / RELEASED).write_bytes((ROOT / RELEASED).read_bytes())
    source = (ROOT / "proto/contract.proto").read_text(encoding="utf-8")
    assert source.count(old) >= 1
    (tmp_path / "proto/contract.proto").write_text(source.replace(old, new), encoding="utf-8")
    done = breaking(tmp_path)
    assert done.returncode != 0
    assert says.lower() in done.stdout.lower()

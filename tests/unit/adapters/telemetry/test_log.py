"""What a line says, and that nobody can forge one."""

import json

import pytest
from msgspec.structs import replace

from isthmus.adapters.telemetry.log import Log
from isthmus.adapters.telemetry.reading import stamp
from isthmus.core.events import Crashed, Fact, KeysRefreshed, Noted, RpcServed
from isthmus.settings import LoggingSettings
from tests.unit.adapters.telemetry.facts import CALLED, SERVED

PLAIN = LoggingSettings()


class Paper:
    """Keeps what is written, and reports `lost` blocks once."""

    def __init__(self, lost: int = 0) -> None:
        self.text = b""
        self.lost = lost

    def write(self, block: bytes) -> int:
        self.text += block
        lost, self.lost = self.lost, 0
        return lost


def lines(*facts: Fact, settings: LoggingSettings = PLAIN) -> list[str]:
    paper = Paper()
    Log(settings, paper.write).take([(1_700_000_001.5, "req-1", fact) for fact in facts])
    return paper.text.decode().splitlines()


def test_an_access_line_has_the_fields_of_the_contract() -> None:
    (line,) = lines(SERVED)
    assert json.loads(line) == {
        "message": '10.0.0.1:5555 - "POST /v2/code/completions?x=1 HTTP/1.1" 200',
        "logger": "api.access",
        "level": "info",
        "timestamp": "2023-11-14T22:13:21.500000Z",
        "type": "mlops",
        "stage": "main",
        "url": "/v2/code/completions?x=1",
        "path": "/v2/code/completions?x=1",
        "method": "POST",
        "http_version": "1.1",
        "client_ip": "10.0.0.1",
        "client_port": 5555,
        "user_agent": "editor/1.0",
        "correlation_id": "req-1",
        "request_arrived_at": "2023-11-14T22:13:20.250000Z",
        "status_code": 200,
        "content_type": "application/json",
        "duration_s": 70.0,
        "response_start_duration_s": 0.4,
        "first_chunk_duration_s": 0.5,
        "cpu_s": 0.01,
        "duration_request": -1,
        "gitlab_realm": "saas",
        "token_issuer": "https://gitlab.example",
        "auth_duration_s": 0.001,
    }


def test_an_answer_that_was_never_sent_is_a_500_of_unknown_type() -> None:
    (line,) = lines(replace(SERVED, status=0, content_type="", client="[::1]:80"))
    told = json.loads(line)
    assert (told["status_code"], told["content_type"]) == (500, "unknown")
    assert (told["client_ip"], told["client_port"]) == ("::1", 80)


def test_an_rpc_line_has_the_fields_of_the_contract() -> None:
    method = "/DuoWorkflow/ExecuteWorkflow"
    fact = RpcServed(method, "STREAM", "OK", "", 1.5, "go", "r", (("workflow_id", "7"),))
    told = json.loads(lines(fact)[0])
    assert told["grpc_service_name"] == "DuoWorkflow"
    assert told["grpc_method_name"] == "ExecuteWorkflow"
    assert (told["grpc_type"], told["grpc_status"]) == ("STREAM", "OK")
    assert (told["servicer_context_code"], told["servicer_context_details"]) == ("OK", "")
    assert (told["correlation_id"], told["workflow_id"]) == ("r", "7")
    assert "event" in told


def test_a_crash_has_its_trace_and_notes_their_level() -> None:
    crash, note = lines(
        Crashed("here", "ValueError: boom: x", "Traceback\n  line"),
        Noted("warning", "slow", (("logger", "grpc"), ("n", "1"))),
    )
    told = json.loads(crash)
    assert (told["exception_class"], told["exception_message"]) == ("ValueError", "boom: x")
    assert (told["exception_backtrace"], told["level"]) == ("Traceback\n  line", "error")
    told = json.loads(note)
    assert (told["logger"], told["level"], told["n"]) == ("grpc", "warning", "1")


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"level": "info"}, 4),
        ({"access": False}, 3),
        ({"level": "warning"}, 3),
        ({"level": "ERROR"}, 1),
        ({"level": "debug"}, 5),
    ],
)
def test_the_level_and_the_access_switch_choose_lines(
    changes: dict[str, object], count: int
) -> None:
    facts = (
        SERVED,
        CALLED,
        replace(CALLED, error="overloaded"),
        KeysRefreshed("https://i", 0, "refused"),
        Noted("error", "x"),
    )
    assert len(lines(*facts, settings=LoggingSettings.model_validate(changes))) == count


@pytest.mark.parametrize("json_lines", [True, False])
def test_one_fact_is_one_line_whatever_it_holds(*, json_lines: bool) -> None:
    hostile = '/a\nINFO forged\r\x1b[2J\u2028"\\\ud800'
    fact = replace(SERVED, path=hostile, fields=(("odd", object()), ("nan", float("nan"))))
    settings = LoggingSettings(json_lines=json_lines)
    paper = Paper()
    Log(settings, paper.write).take([(1.0, "", fact)])
    assert paper.text.count(b"\n") == 1
    assert paper.text.endswith(b"\n")
    assert b"\x1b" not in paper.text
    assert b"forged" in paper.text


def test_a_long_text_is_cut() -> None:
    (line,) = lines(replace(SERVED, path="/" + "x" * 60_000))
    assert len(line) < 30_000
    assert json.loads(line)["method"] == "POST"


def test_lost_lines_are_told() -> None:
    paper = Paper(lost=3)
    Log(PLAIN, paper.write).take([(1.0, "", SERVED)])
    last = json.loads(paper.text.decode().splitlines()[-1])
    assert last["level"] == "error"
    assert "3 blocks of log lines were lost" in last["message"]


def test_text_lines_are_for_people() -> None:
    settings = LoggingSettings(json_lines=False)
    first, *rest = lines(Crashed("here", "E: x", "Traceback\n  line"), settings=settings)
    assert first.startswith("2023-11-14T22:13:21.500000Z error    Crashed: E: x where=here")
    assert rest == ["  Traceback", "    line"]


def test_stamps_keep_order_at_borders() -> None:
    assert stamp(0.0) == "1970-01-01T00:00:00.000000Z"
    assert stamp(1.999999) == "1970-01-01T00:00:01.999999Z"

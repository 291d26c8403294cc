"""What a line says, and that nobody can forge one."""

import json

import pytest
from msgspec.structs import replace

from isthmus.adapters.telemetry.log import Log
from isthmus.adapters.telemetry.pipeline import clean
from isthmus.adapters.telemetry.reading import stamp
from isthmus.core.events import (
    BreakerMoved,
    ConfigurationRead,
    Crashed,
    Fact,
    FeatureUsed,
    KeysRefreshed,
    LimitMet,
    LimitStoreLost,
    Noted,
    PayloadSeen,
    QuotaAsked,
    RpcServed,
    SecretFound,
    SuggestionTrimmed,
    TryFailed,
)
from isthmus.core.identity import NOBODY, Caller, ClientInfo
from isthmus.core.session_facts import SessionAsked, SessionRejected
from isthmus.settings import LoggingSettings
from tests.unit.adapters.telemetry.facts import CALLED, SECRET, SERVED

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


def test_a_stream_that_never_began_has_another_line() -> None:
    fact = RpcServed(
        "/DuoWorkflow/ExecuteWorkflow", "STREAM", "OK", "", 1.5, "go", "r", unstarted="NO_START"
    )
    told = json.loads(lines(fact)[0])
    assert told["event"] == "ExecuteWorkflow closed before start"
    assert told["reason"] == "NO_START"
    assert "grpc_status" not in told


def test_a_start_request_says_who_asks_for_what() -> None:
    asked = SessionAsked(
        "7", "chat", (("client_type", "browser"), ("lsp_version", "")), (("has_flow_config", True),)
    )
    start, refused = map(json.loads, lines(asked, SessionRejected("7", "chat", "Forbidden")))
    assert (start["event"], refused["event"]) == ("Start request received", "Session rejected")
    assert (start["workflow_id"], start["workflow_definition"]) == ("7", "chat")
    assert (start["client_type"], start["has_flow_config"]) == ("browser", True)
    assert "lsp_version" not in start
    assert refused["reason"] == "Forbidden"
    hostile = SessionAsked(SECRET, SECRET, (("client_type", SECRET),), (("flow_name", SECRET),))
    told = clean((1.0, "", hostile))[2]
    assert SECRET not in "".join(lines(told))


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


USED = FeatureUsed(
    "duo_chat", Caller("x", extra={"secret": SECRET}), ClientInfo({"x-gitlab-a": "b"})
)


def test_an_access_line_tells_what_happened_on_the_way() -> None:
    other = FeatureUsed("ask_issue", Caller("x"), ClientInfo())
    told = json.loads(lines(SuggestionTrimmed(0.002), USED, other, SERVED)[0])
    assert told["post_processing_duration_s"] == 0.002
    assert told["meta.unit_primitive"] == "duo_chat"
    assert "tracked_internal_events" not in told
    again = json.loads(lines(SERVED)[0])
    assert "meta.unit_primitive" not in again


def test_an_access_line_names_the_events_where_they_are_sent() -> None:
    paper = Paper()
    log = Log(PLAIN, paper.write, tracked=True)
    log.take([(1.0, "req-1", USED), (1.0, "", USED), (1.0, "req-1", SERVED)])
    log.take([(1.0, "req-1", SERVED)])
    first, second = map(json.loads, paper.text.splitlines())
    assert first["tracked_internal_events"] == ["request_duo_chat"]
    assert "tracked_internal_events" not in second


def test_a_line_of_a_feature_holds_no_claim_and_no_header() -> None:
    (line,) = lines(USED, settings=LoggingSettings(level="DEBUG"))
    assert "duo_chat" in line
    assert SECRET not in line
    assert "x-gitlab-a" not in line


def test_payloads_are_told_as_they_come() -> None:
    told = json.loads(lines(PayloadSeen("Asked.", (("prefix", "a = "), ("items", [1]))))[0])
    assert (told["message"], told["logger"], told["level"]) == ("Asked.", "payloads", "info")
    assert (told["prefix"], told["items"]) == ("a = ", [1])


def test_a_portal_that_does_not_answer_is_worth_a_warning() -> None:
    assert lines(QuotaAsked("allow", "saas", True, 200, 0.1)) == []
    told = json.loads(lines(QuotaAsked("error", "saas", True, 0, 1.0))[0])
    assert (told["level"], told["message"]) == ("warning", "Credits: error")


@pytest.mark.parametrize(
    ("fact", "level", "message"),
    [
        (TryFailed("eu", "m", "overloaded", "next"), "warning", "A try failed"),
        (BreakerMoved("eu", "dead", "401"), "error", "A deployment's breaker is dead"),
        (BreakerMoved("eu", "open", "x"), "warning", "A deployment's breaker is open"),
        (BreakerMoved("eu", "closed", "x"), "info", "A deployment's breaker is closed"),
        (LimitMet("r", "tokens", "enforce", NOBODY, "f"), "info", "A limit was met"),
        (LimitMet("r", "tokens", "shadow", NOBODY, "f"), None, ""),
        (LimitStoreLost(True), "error", "The shared counters are lost: the local share holds"),
        (LimitStoreLost(False), "info", "The shared counters are back"),
        (SecretFound("r", "prompt", "redact", "f", "p", 1), "info", "Secrets were found"),
        (ConfigurationRead(False, "no"), "error", "the configuration was refused"),
    ],
)
def test_what_governs_calls_is_told_by_its_weight(
    fact: Fact, level: str | None, message: str
) -> None:
    found = [json.loads(line) for line in lines(fact)]
    told = [(line["level"], line["message"]) for line in found]
    assert told == ([(level, message)] if level else [])


def test_a_configuration_that_was_read_names_what_changed() -> None:
    fact = ConfigurationRead(True, "", (("http.port", "needs a restart"),))
    (line,) = lines(fact)
    assert json.loads(line)["http.port"] == "needs a restart"


def test_a_log_that_adopts_settings_writes_by_them_from_then_on() -> None:
    paper = Paper()
    log = Log(PLAIN, paper.write)
    told = [(1_700_000_001.5, "req-1", Noted("info", "hello"))]
    log.take(told)
    log.adopt(LoggingSettings(level="ERROR"))
    log.take(told)
    log.adopt(LoggingSettings(json_lines=False))
    log.take(told)
    first, second = paper.text.decode().splitlines()
    assert json.loads(first)["message"] == "hello"
    assert second.endswith("info     hello")

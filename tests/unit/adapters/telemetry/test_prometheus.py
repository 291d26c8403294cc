"""Series of the contracts, what is left out of them, and that their number is bounded."""

from threading import Thread

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from isthmus.adapters.telemetry.family import SERIES_LIMIT
from isthmus.adapters.telemetry.prometheus import Prometheus
from isthmus.core.events import (
    ActionRelayed,
    Fact,
    FeatureUsed,
    ModelCallStarted,
    QuotaAsked,
    RelayClosed,
    RelayOpened,
    RpcServed,
    SessionEnded,
    SessionStarted,
    SuggestionAsked,
    SuggestionTrimmed,
    ToolCalled,
)
from isthmus.core.identity import LABELS, Caller, ClientInfo
from isthmus.core.session_facts import (
    ActionAnswered,
    AnswerShaped,
    CheckpointWritten,
    Compacted,
    RouteTaken,
    SessionAnswered,
    SessionAsked,
    SessionRejected,
)
from isthmus.settings import EngineLimit
from tests.unit.adapters.telemetry.facts import CALLED, SERVED

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def pages(*facts: Fact) -> tuple[Samples, Samples]:
    metrics = Prometheus()
    metrics.take([(1.0, "", fact) for fact in facts])
    return samples(metrics.http_page()), samples(metrics.platform_page())


def samples(page: bytes) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def value(found: Samples, name: str, **labels: str) -> float:
    """The sum of the series that have these labels among theirs."""
    wanted = set(labels.items())
    return sum(amount for (kind, held), amount in found.items() if kind == name and wanted <= held)


def test_requests_count_the_time_until_the_answer_began() -> None:
    http, platform = pages(SERVED, replace(SERVED, status=422), replace(SERVED, status=0))
    labels = {"handler": "/v2/code/completions", "method": "POST"}
    name = "http_request_duration_seconds"
    assert value(http, f"{name}_bucket", **labels, status="2xx", le="0.5") == 1
    assert value(http, f"{name}_sum", **labels, status="2xx") == 0.4
    assert value(http, f"{name}_count", **labels, status="4xx") == 1
    assert value(http, f"{name}_count", **labels, status="5xx") == 1
    borders = {dict(held)["le"] for kind, held in http if kind == f"{name}_bucket"}
    assert borders == {"0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "60.0", "+Inf"}
    assert not any(n.startswith(name) for n, _ in platform)


def test_monitoring_and_unmatched_paths_are_not_counted() -> None:
    routes = ("", "/monitoring/healthz", "/monitoring/ready", "/metrics", "/v1/models/definitions")
    http, _ = pages(*(replace(SERVED, route=route) for route in routes))
    assert not any(name.startswith("http_request_duration") for name, _ in http)


def test_model_calls_stand_on_both_pages_with_every_label() -> None:
    failed = replace(CALLED, error="overloaded", usage=None, finish="", streaming=False)
    started = ModelCallStarted("anthropic", "claude")
    for found in pages(started, started, started, CALLED, failed):
        assert value(found, "model_inferences_in_flight", model_name="claude") == 1
        assert value(found, "model_inferences_total", error="no", error_type="none") == 1
        assert value(found, "model_inferences_total", error="yes", error_type="overloaded") == 1
        assert value(found, "inference_request_duration_seconds_bucket", le="1.0") == 2
        assert value(found, "inference_input_tokens_total") == 10
        assert value(found, "inference_output_tokens_total") == 3
        assert value(found, "inference_total_tokens_total") == 13
        labels = next(
            held
            for kind, held in found
            if kind == "model_inferences_total" and ("error", "no") in held
        )
        assert dict(labels) == {
            "model_engine": "anthropic",
            "model_name": "claude",
            "lsp_version": "unknown",
            "gitlab_version": "unknown",
            "client_type": "unknown",
            "gitlab_realm": "unknown",
            "is_gitlab_team_member": "unknown",
            "error": "no",
            "error_type": "none",
            "streaming": "yes",
            "feature_category": "code_completions",
            "unit_primitive": "complete_code",
            "finish_reason": "stop",
        }


def test_suggestions_are_counted_by_language_up_to_a_bound() -> None:
    asked = [SuggestionAsked(f"lang{n}", "x" * 1000, "") for n in range(SERIES_LIMIT * 2)]
    http, _ = pages(SuggestionTrimmed(0.002), *asked)
    name = "code_suggestions_prompt_language_total"
    assert value(http, "code_suggestions_post_processing_duration_seconds_count") == 1
    assert sum(n == name for n, _ in http) == SERIES_LIMIT + 1
    assert value(http, name) == SERIES_LIMIT * 2
    assert value(http, name, lang="other", extension="other") == SERIES_LIMIT
    assert value(http, name, lang="lang0", extension="x" * 64) == 1


def test_rpcs_are_counted_by_method_and_code() -> None:
    fields = (("workflow_definition", "chat"), ("client_type", "browser"))
    rpc = RpcServed("/DuoWorkflow/ExecuteWorkflow", "BIDI", "OK", "", 1.0, "", "", fields)
    health = replace(rpc, method="/grpc.health.v1.Health/Check")
    _, found = pages(rpc, health)
    name = "grpc_server_handled_total"
    assert value(found, name) == 1
    assert (
        value(
            found,
            name,
            grpc_type="BIDI",
            grpc_service="DuoWorkflow",
            grpc_method="ExecuteWorkflow",
            grpc_code="OK",
            flow_type="chat",
            client_type="browser",
            lsp_version="unknown",
        )
        == 1
    )


def test_sessions_and_their_tools_are_counted() -> None:
    _, found = pages(
        SessionAsked("1", "chat"),
        SessionAsked("1", "chat"),
        SessionStarted("1", "chat", "start"),
        SessionStarted("1", "chat", "resume"),
        SessionAnswered("1", "chat", 0.7),
        SessionEnded("1", "chat", "finished", "", 200.0, 3),
        SessionEnded("1", "chat", "failed", "model", 2.0, 3),
        SessionEnded("1", "chat", "aborted", "", 2.0, 3),
        SessionEnded("1", "chat", "waiting", "", 2.0, 3),
        ActionAnswered("1", "runReadFile", 0.1),
        ToolCalled("1", "chat", "read_file", 0.2, ""),
        ToolCalled("1", "chat", "read_file", 0.2, "ToolRefused"),
        CheckpointWritten("1", 100, 2, 0.01),
    )
    prefix = "agent_platform_session"
    assert value(found, "agent_platform_receive_start_total", flow_type="chat") == 2
    for name in ("start", "resume", "success", "abort"):
        assert value(found, f"{prefix}_{name}_total", flow_type="chat") == 1, name
    assert value(found, f"{prefix}_failure_total", failure_reason="model") == 1
    assert value(found, "duo_workflow_total_seconds_count", workflow_type="chat") == 4
    assert value(found, "duo_workflow_total_seconds_bucket", le="120.0") == 3
    assert value(found, "duo_workflow_total_seconds_bucket", le="300.0") == 4
    first = "duo_workflow_time_to_first_response_seconds_bucket"
    assert [value(found, first, flow_type="chat", le=le) for le in ("0.5", "1.0")] == [0, 1]
    assert value(found, "executor_actions_duration_seconds_count", action_class="runReadFile") == 1
    assert value(found, "duo_workflow_tool_call_seconds_count", tool_name="read_file") == 2
    assert value(found, "agent_platform_tool_failure_total", failure_reason="ToolRefused") == 1
    assert value(found, "duo_workflow_checkpoint_total") == 1


def test_what_flows_do_is_counted_by_their_parts() -> None:
    route = "/api/v4/ai/duo_workflows/workflows/:id/checkpoints"
    _, found = pages(
        RouteTaken("1", "fix/v1", "judge", "yes", default=False),
        RouteTaken("1", "fix/v1", "judge", "invalid_route", default=True),
        AnswerShaped("1", "fix/v1", "judge"),
        Compacted("1", "fix/v1", "worker", "success", 0.3),
        Compacted("1", "fix/v1", "worker", "failed", 61.0),
        SessionRejected("2", "fix/v1", "InsufficientCredits"),
        ActionAnswered("1", "runHTTPRequest", 0.2, "POST", route, 201),
        ActionAnswered("1", "runHTTPRequest", 0.2, "GET", route, 200),
        CheckpointWritten("1", 100, 2, 0.01, elsewhere=True),
    )
    ways = "agent_platform_flow_route_decision_total"
    assert value(found, ways, component_name="judge", route_value="yes") == 1
    default = {"route_value": "invalid_route", "is_default_route": "true"}
    assert value(found, ways, flow_type="fix/v1", **default) == 1
    shaped = "agent_platform_response_schema_output_total"
    assert value(found, shaped, flow_type="fix/v1", component_name="judge") == 1
    assert value(found, "compaction_execution_total", agent_name="worker", status="failed") == 1
    summing = "compaction_llm_duration_seconds_bucket"
    assert [value(found, summing, le=le) for le in ("0.25", "0.5", "60.0", "+Inf")] == [0, 1, 1, 2]
    assert value(found, "agent_platform_session_reject_total", flow_type="fix/v1") == 1
    answered = "duo_workflow_gitlab_response_seconds_count"
    assert value(found, answered, endpoint=route, method="GET") == 1
    stored = {"endpoint": route, "status_code": "201", "method": "POST"}
    assert value(found, "duo_workflow_checkpoint_total", **stored) == 1
    assert value(found, "duo_workflow_checkpoint_total") == 1


def test_facts_of_a_request_have_the_labels_of_its_client() -> None:
    said = dict(zip(LABELS, ("8.60.0", "19.1.0", "browser", "saas", "true"), strict=True))
    metrics = Prometheus()
    metrics.take(
        [
            (1.0, "a", SessionAsked("1", "chat", tuple(said.items()))),
            (1.0, "a", SessionStarted("1", "chat", "start")),
            (1.0, "a", ToolCalled("1", "chat", "read_file", 0.2, "refused")),
            (1.0, "a", CheckpointWritten("1", 100, 2, 0.01)),
            (1.0, "a", replace(CALLED, realm="")),
            (1.0, "a", SessionEnded("1", "chat", "failed", "model", 2.0, 3, "start")),
            (1.0, "b", SessionStarted("2", "chat", "start")),
        ]
    )
    found = samples(metrics.platform_page())
    for name in (
        *("agent_platform_receive_start_total", "agent_platform_session_start_total"),
        *("agent_platform_tool_failure_total", "duo_workflow_tool_call_seconds_count"),
        *("duo_workflow_checkpoint_total", "model_inferences_total"),
    ):
        assert value(found, name, **said) == 1, name
    failed = "agent_platform_session_failure_total"
    assert value(found, failed, session_type="start", **said) == 1
    assert value(found, "agent_platform_session_start_total", lsp_version="unknown") == 1


def test_callers_of_the_gateway_are_labelled_and_releases_are_what_is_given_up_first() -> None:
    metrics = Prometheus()
    for number in range(SERIES_LIMIT):
        client = ClientInfo({"x-gitlab-version": f"19.{number}", "x-gitlab-is-team-member": "True"})
        used = FeatureUsed("complete_code", Caller("u"), client)
        metrics.take([(1.0, str(number), used), (1.0, str(number), CALLED)])
    metrics.take([(1.0, "", replace(CALLED, model="late"))])
    found = samples(metrics.http_page())
    name = "model_inferences_total"
    assert value(found, name, gitlab_version="19.7", is_gitlab_team_member="true") == 1
    assert value(found, name, gitlab_version="other") == SERIES_LIMIT // 2 + 1
    assert value(found, name, model_name="late") == 1


def test_buckets_hold_what_equals_their_border_and_never_shrink() -> None:
    durations_s = (0.4, 0.5, 0.6, 60.0, 61.0)
    http, _ = pages(*(replace(SERVED, response_start_s=each_s) for each_s in durations_s))
    name = "http_request_duration_seconds"
    borders = ("0.5", "1.0", "30.0", "60.0", "+Inf")
    assert [value(http, f"{name}_bucket", le=border) for border in borders] == [2, 3, 3, 4, 5]
    assert value(http, f"{name}_count") == 5
    assert value(http, f"{name}_sum") == sum(durations_s)


def test_series_tell_since_when_they_count_and_pages_can_be_made_again() -> None:
    metrics = Prometheus()
    metrics.take([(1.0, "", SERVED), (1.0, "", CALLED)])
    first, second = metrics.http_page(), metrics.http_page()
    for name in ("model_inferences", "inference_input_tokens", "http_request_duration_seconds"):
        assert f"{name}_created{{".encode() in first
    assert samples(first).keys() == samples(second).keys()


def test_model_calls_are_bounded_by_the_labels_that_callers_choose() -> None:
    calls = [replace(CALLED, model=f"model {number}") for number in range(SERIES_LIMIT * 2)]
    http, platform = pages(*calls)
    for found in (http, platform):
        assert sum(name == "model_inferences_total" for name, _ in found) == SERIES_LIMIT + 1
        assert value(found, "model_inferences_total") == SERIES_LIMIT * 2
        assert value(found, "inference_total_tokens_total", model_name="other") == 13 * SERIES_LIMIT


def test_a_page_can_be_made_while_facts_are_counted() -> None:
    metrics = Prometheus()
    pages_made: list[bytes] = []
    scrapes = Thread(target=lambda: pages_made.extend(metrics.http_page() for _ in range(5)))
    scrapes.start()
    number = 0
    while scrapes.is_alive():
        number += 1
        metrics.take([(1.0, "", replace(CALLED, model=f"m{number % 700}")), (1.0, "", SERVED)])
    scrapes.join()
    assert len(pages_made) == 5
    for page in pages_made:
        assert page.endswith(b"\n")
    total = value(samples(metrics.http_page()), "model_inferences_total")
    assert total == number


def test_limits_of_engines_stand_on_the_page() -> None:
    limit = EngineLimit(concurrency=5, input_tokens=1000)
    page = Prometheus({"anthropic": {"claude-x": limit}}).http_page().decode()
    labels = '{model_engine="anthropic",model_name="claude-x"}'
    assert f"model_inferences_max_concurrent{labels} 5.0" in page
    assert f"model_max_input_tokens{labels} 1000.0" in page
    assert "# TYPE model_max_output_tokens gauge" in page
    assert "model_max_output_tokens{" not in page


def test_questions_for_credits_are_counted_and_timed() -> None:
    metrics = Prometheus()
    for asked, result, status in ((True, "allow", 200), (False, "allow", 200), (True, "error", 0)):
        metrics.take([(0.0, "", QuotaAsked(result, "saas", asked, status, 0.2))])
    page = metrics.http_page().decode()
    assert 'usage_quota_check_total{realm="saas",result="allow"} 2.0' in page
    prefix = "usage_quota_customersdot"
    assert f'{prefix}_requests_total{{outcome="allow",status="200"}} 1.0' in page
    assert f'{prefix}_requests_total{{outcome="error",status="none"}} 1.0' in page
    assert f'{prefix}_latency_seconds_count{{realm="saas"}} 2.0' in page


def test_the_relay_counts_sockets_sessions_and_actions() -> None:
    http, platform = pages(
        RelayOpened("browser"),
        RelayClosed("7", 1000, "OK", "", 1.0),
        RelayClosed("8", 1008, "RESOURCE_EXHAUSTED", "quota_exceeded", 1.0),
        RelayClosed("", 1013, "OK", "locked", 1.0),
        ActionRelayed("7", "POST", 201, "", 0.3),
        ActionRelayed("7", "GET", 0, "timeout", 5.0),
    )
    name = "gitlab_workhorse_duo_workflow"
    assert value(http, f"{name}_connections_total") == 1
    assert value(http, f"{name}_connection_errors_total", error_type="quota_exceeded") == 1
    assert value(http, f"{name}_connection_errors_total", error_type="locked") == 1
    assert value(http, f"{name}_sessions_total") == 2
    assert value(http, f"{name}_session_errors_total", grpc_code="RESOURCE_EXHAUSTED") == 1
    assert value(http, f"{name}_http_actions_total", method="POST", status_code="201") == 1
    assert value(http, f"{name}_http_action_duration_seconds_count", method="GET") == 1
    assert value(http, f"{name}_http_action_errors_total", method="GET", error_type="timeout") == 1
    assert not any(kind.startswith(name) for kind, _ in platform)

"""What product and billing events say: data of their schemas, from facts; pure.

Source: HTTP gateway contract, sections 10.6 and 10.7; agent-platform contract, section 10.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import msgspec

from isthmus.adapters.telemetry.reading import stamp
from isthmus.adapters.telemetry.snowplow import Context
from isthmus.core.events import FeatureUsed, ModelCalled, ModelUse, SessionBilled, SuggestionAsked
from isthmus.core.messages import Usage
from isthmus.gateway.asker import describe, numbers
from isthmus.redaction.rules import redact

TRACKING_LIMIT_CHARS = 4_096
_STANDARD = "iglu:com.gitlab/gitlab_standard/jsonschema/1-1-8"
_AI = "iglu:com.gitlab/ai_context/jsonschema/1-0-1"
_BILLABLE = "iglu:com.gitlab/billable_usage/jsonschema/1-0-3"
_SUGGESTION = "iglu:com.gitlab/code_suggestions_context/jsonschema/3-6-0"
_NOTHING: Mapping[str, object] = {}
_REALMS = {"self-managed": "SM", "saas": "SaaS"}
_CLIENT = ("client_name", "client_version", "client_type", "interface")
_OF_AI = ("session_id", "workflow_id", "flow_type", "agent_name")


@dataclass(frozen=True, slots=True)
class Seen:
    """A feature that was used, and who used it, in the words of the events.

    Texts come from headers: what looks like a secret in them is gone. `direct` is whether an end
    user called with a token of ours.
    """

    unit_primitive: str
    billed: str
    feature: str
    direct: bool
    duo_pro: tuple[int, ...]
    asker: Mapping[str, str | int | None]
    standard: Mapping[str, object]
    details: Mapping[str, object]


def seen(fact: FeatureUsed, environment: str, request_id: str, at_s: float) -> Seen:
    """Read a fact once, for every event that it becomes part of."""
    told = describe(fact.caller, fact.client, environment, request_id)
    asker = {name: redact(one) if isinstance(one, str) else one for name, one in told.items()}
    details = dict(fact.details)
    said = fact.client.headers
    member = said.get("x-gitlab-is-team-member")
    named = {name: _short(said.get(f"x-gitlab-{name.replace('_', '-')}")) for name in _CLIENT}
    standard: dict[str, object] = {
        **asker,
        **named,
        "ultimate_parent_namespace_id": asker["root_namespace_id"],
        "context_generated_at": stamp(at_s),
        "extra": _tracking(said.get("x-gitlab-tracking-context", "")) | details,
        "is_gitlab_team_member": None if member is None else member.lower() == "true",
        "feature_enabled_by_namespace_ids": numbers(
            said.get("x-gitlab-feature-enabled-by-namespace-ids", "")
        ),
        "plan": None,
    }
    for name in ("user_id", "root_namespace_id"):
        del standard[name]
    return Seen(
        unit_primitive=fact.unit_primitive,
        billed=fact.billed,
        feature=fact.feature,
        direct=fact.caller.self_issued,
        duo_pro=numbers(said.get("x-gitlab-saas-duo-pro-namespace-ids", "")),
        asker=asker,
        standard=standard,
        details=details,
    )


def product(who: Seen, call: ModelCalled | None = None) -> tuple[Context, Context]:
    """The two contexts of a product event; `call` is the model call that it tells of, if any."""
    usage = call.usage if call is not None else None
    tokens = _tokens(usage)
    named: dict[str, object] = {
        "model_engine": call and call.engine,
        "model_name": call and call.model,
        "model_provider": call and call.provider,
    }
    about: dict[str, object] = {name: who.details.get(name) for name in _OF_AI}
    caching: dict[str, object] = {
        "ephemeral_5m_input_tokens": None,
        "ephemeral_1h_input_tokens": None,
        "cache_read": usage and usage.cache_read_tokens,
        "cache_creation": usage and usage.cache_write_tokens,
    }
    return (
        Context(_STANDARD, {**who.standard, **tokens, **named}),
        Context(_AI, about | tokens | caching),
    )


def billable(who: Seen, call: ModelCalled, event_id: str, at_s: float) -> Context:
    """One use that costs, for one model call."""
    return _bill(who, [_operation(call, who.details)], event_id, at_s)


def session(who: Seen, bill: SessionBilled, event_id: str, at_s: float) -> Context:
    """One use that costs, for a stream of a session."""
    operations = [
        _listed(ModelUse(*cast("ModelUse", value))) for kind, value in bill.used if kind == "model"
    ]
    tools = [value for kind, value in bill.used if kind == "tool"]
    more = {"tool_names": tools, "workflow_id": bill.workflow_id}
    return _bill(who, operations, event_id, at_s, more)


def _bill(
    who: Seen,
    operations: list[dict[str, object]],
    event_id: str,
    at_s: float,
    more: Mapping[str, object] = _NOTHING,
) -> Context:
    asker, details = who.asker, who.details
    kept = ("instance_id", "unique_instance_id", "instance_version", "host_name", "project_id")
    kept += ("namespace_id", "root_namespace_id", "global_user_id", "organization_id")
    enabled_by = asker["feature_enablement_type"]
    realm = str(asker["realm"] or "")
    return Context(
        _BILLABLE,
        {
            "event_id": event_id,
            "event_type": who.billed,
            "unit_of_measure": "request",
            "quantity": 1,
            "realm": _REALMS.get(realm.lower(), realm or None),
            "timestamp": stamp(at_s),
            "subject": asker["user_id"],
            "subject_type": asker["user_type"],
            "assignments": [enabled_by] if enabled_by else None,
            "seat_ids": None,
            "deployment_type": asker["deployment_type"],
            "correlation_id": asker["correlation_id"],
            **{name: asker[name] for name in kept},
            "metadata": {
                "feature_qualified_name": who.feature or None,
                "feature_ai_catalog_item": details.get("feature_ai_catalog_item"),
                "execution_environment": details.get("execution_environment"),
                "llm_operations": operations,
                "tool_names": [],
                "orbit_called": False,
                "is_gitlab_team_member": who.standard["is_gitlab_team_member"],
                **more,
            },
        },
    )


def suggestion(who: Seen, asked: SuggestionAsked, region: str) -> Context:
    """The older event of a code suggestion."""
    return Context(
        _SUGGESTION,
        {
            "language": asked.language or None,
            "prefix_length": who.details.get("prefix_length"),
            "suffix_length": who.details.get("suffix_length"),
            "gitlab_realm": who.asker["realm"],
            "gitlab_host_name": who.asker["host_name"],
            "gitlab_instance_id": who.asker["instance_id"],
            "gitlab_global_user_id": who.asker["global_user_id"],
            "gitlab_saas_duo_pro_namespace_ids": who.duo_pro,
            "suggestion_source": "network",
            "is_direct_connection": who.direct,
            "region": region,
        },
    )


def _operation(call: ModelCalled, details: Mapping[str, object]) -> dict[str, object]:
    usage = call.usage or Usage()
    return {
        "token_count": usage.input_tokens + usage.output_tokens,
        "model_id": call.model,
        "model_engine": call.engine,
        "model_provider": call.provider,
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "agent_name": details.get("agent_name"),
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "operation_type": details.get("operation_type"),
    }


def _listed(use: ModelUse) -> dict[str, object]:
    return {
        "token_count": use.input_tokens + use.output_tokens,
        "model_id": use.model or None,
        "model_engine": use.engine or None,
        "model_provider": use.provider or None,
        "prompt_tokens": use.input_tokens,
        "completion_tokens": use.output_tokens,
        "agent_name": use.agent or None,
        "cache_read_tokens": use.cache_read_tokens,
        "cache_write_tokens": use.cache_write_tokens,
        "operation_type": use.operation or None,
    }


def _tokens(usage: Usage | None) -> dict[str, object]:
    return {
        "input_tokens": usage and usage.input_tokens,
        "output_tokens": usage and usage.output_tokens,
        "total_tokens": usage and usage.input_tokens + usage.output_tokens,
    }


def _tracking(text: str) -> dict[str, object]:
    """What the client wants its events to say further; nothing when it is not a JSON object."""
    if not 2 <= len(text) <= TRACKING_LIMIT_CHARS:
        return {}
    try:
        read: object = msgspec.json.decode(redact(text))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
    return cast("dict[str, object]", read) if isinstance(read, dict) else {}


def _short(text: str | None) -> str | None:
    return redact(text[:256]) if text else None

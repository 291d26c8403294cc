"""Feature flags of the instance: on for all, for namespaces, or for users.

Source: instance contract, section 2.4.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

STICKINESS: Final = "duo_workflow_provider_stickiness"


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag. `namespaces` are ids of topmost namespaces."""

    name: str
    default: bool = False
    namespaces: frozenset[int] = field(default=frozenset())
    users: frozenset[int] = field(default=frozenset())

    def on(self, *, namespace_id: int | None = None, user_id: int | None = None) -> bool:
        """Whether it is on for one of these."""
        return self.default or namespace_id in self.namespaces or user_id in self.users


KNOWN: Final[Mapping[str, bool]] = {
    STICKINESS: False,
    "duo_workflow": True,
    "incremental_checkpoints": False,
    "duo_workflow_read_incremental_checkpoints": False,
    "dw_read_blobs_api": False,
    "lock_workflows_for_web_only": False,
    "timeout_dap_http_requests_in_workhorse": False,
    "ai_user_model_switching": True,
    "access_rest_chat": False,
    "duo_agentic_chat": True,
    "advanced_context_resolver": True,
    "code_suggestions_context": True,
    "use_duo_context_exclusion": True,
    "expanded_ai_logging": False,
    "duo_agentic_chat_openai_gpt_5": False,
    "use_generic_gitlab_api_tools": False,
    "ai_prompt_scanning": False,
    "dap_parallel_subagents": False,
    "dap_web_search": False,
    "dependency_bump_web_search": False,
    "ai_context_compaction": False,
    "agentic_foundational_flow_tool": False,
    "ai_gateway_multi_default_models": True,
    "duo_chat_clarification_question_tool": False,
    "software_development_flow_registry": False,
    "duo_agentic_chat_prefer_mcp_tools": False,
}
"""Flag -> whether it is on by default."""

FORWARDED: Final = tuple(
    name
    for name in KNOWN
    if name
    not in {
        STICKINESS,
        "duo_workflow",
        "incremental_checkpoints",
        "duo_workflow_read_incremental_checkpoints",
        "dw_read_blobs_api",
        "lock_workflows_for_web_only",
        "timeout_dap_http_requests_in_workhorse",
        "ai_user_model_switching",
        "access_rest_chat",
        "duo_agentic_chat",
        "advanced_context_resolver",
        "code_suggestions_context",
        "use_duo_context_exclusion",
    }
)
"""Flags that sessions are told of, when they are on."""


def known(name: str) -> Flag:
    """The flag as it is before anybody has set it. Raises KeyError for one that nobody reads."""
    return Flag(name, KNOWN[name])

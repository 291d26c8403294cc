"""Which scopes exist, and whether a caller holds one of those that a use case needs.

Source: HTTP gateway contract, section 2.8; agent-platform contract, sections 3.3 and 3.4.
"""

from collections.abc import Collection

from isthmus.core.errors import Forbidden
from isthmus.core.identity import Caller

UNIT_PRIMITIVES = frozenset(
    {
        "access_artifact_registry",
        "agent_quick_actions",
        "ai_gateway_model_provider_proxy",
        "amazon_q_integration",
        "ask_build",
        "ask_commit",
        "ask_epic",
        "ask_issue",
        "ask_merge_request",
        "ask_work_item",
        "categorize_duo_chat_question",
        "code_suggestions",
        "codebase_search",
        "complete_code",
        "description_composer",
        "documentation_search",
        "duo_agent_platform",
        "duo_chat",
        "duo_classic_chat",
        "duo_workflow_execute_workflow",
        "explain_code",
        "explain_vulnerability",
        "feature_discovery_search",
        "fix_code",
        "generate_code",
        "generate_commit_message",
        "generate_cube_query",
        "generate_embeddings_codebase",
        "generate_issue_description",
        "glab_ask_git_command",
        "include_agent_platform_standard_context",
        "include_agent_user_environment_context",
        "include_dependency_context",
        "include_directory_context",
        "include_file_context",
        "include_issue_context",
        "include_local_git_context",
        "include_merge_request_context",
        "include_os_information_context",
        "include_repository_context",
        "include_snippet_context",
        "include_terminal_context",
        "include_user_rule_context",
        "malware_advisories",
        "measure_comment_temperature",
        "observability_all",
        "package_licenses",
        "refactor_code",
        "resolve_vulnerability",
        "review_merge_request",
        "security_scans",
        "self_hosted_duo_agent_platform",
        "self_hosted_models",
        "semantic_search_issue",
        "summarize_comments",
        "summarize_issue_discussions",
        "summarize_new_merge_request",
        "summarize_review",
        "troubleshoot_job",
        "update_vulnerability_severity",
        "write_tests",
    }
)

DIRECT_CONNECTION = ("complete_code", "ai_gateway_model_provider_proxy")
"""What a user token of the gateway may hold, in the order in which it lists them."""

PLATFORM_PRIMITIVES = UNIT_PRIMITIVES - {
    "ai_gateway_model_provider_proxy",
    "amazon_q_integration",
    "code_suggestions",
    "complete_code",
    "generate_code",
    "generate_embeddings_codebase",
}
"""What a user token of the agent platform may hold: all but what only gateway routes ask for."""


def allowed(caller: Caller, any_of: Collection[str], *, self_issued: bool = True) -> bool:
    """Whether the caller holds one of `any_of`; `self_issued` false refuses tokens of our own.

    A name that is not a known unit primitive grants nothing, although a token may carry it.
    """
    if caller.debug:
        return True
    if caller.self_issued and not self_issued:
        return False
    return not UNIT_PRIMITIVES.isdisjoint(caller.scopes.intersection(any_of))


def require(
    caller: Caller, any_of: Collection[str], detail: str, *, self_issued: bool = True
) -> None:
    """Raises Forbidden with `detail` unless `allowed`."""
    if not allowed(caller, any_of, self_issued=self_issued):
        raise Forbidden(detail)


def session_scopes(definition: str) -> tuple[str, ...]:
    """The scopes of which one lets a caller run a session of this workflow definition."""
    if definition == "chat":
        return ("duo_chat",)
    return ("duo_agent_platform", "duo_workflow_execute_workflow")

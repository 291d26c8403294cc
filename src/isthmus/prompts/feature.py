"""What callers rely on: which prompts exist, and which feature setting pays for one.

Source: HTTP gateway contract, sections 9.3 and 6.3; `agent/chat` is ours.
"""

from collections.abc import Mapping

SERVED = frozenset(
    {
        "categorize_question",
        "chat/agent",
        "chat/build_reader",
        "chat/commit_reader",
        "chat/documentation_search",
        "chat/epic_reader",
        "chat/explain_code",
        "chat/explain_vulnerability",
        "chat/fix_code",
        "chat/issue_reader",
        "chat/merge_request_reader",
        "chat/react",
        "chat/refactor_code",
        "chat/summarize_comments",
        "chat/troubleshoot_job",
        "chat/work_item_reader",
        "chat/write_tests",
        "classify_code_review_mention_intent",
        "code_suggestions/completions",
        "code_suggestions/generations",
        "embeddings_code",
        "feature_discovery_search",
        "generate_commit_message",
        "generate_description",
        "generate_session_title",
        "glab_ask_git_command",
        "measure_comment_temperature",
        "model_configuration/check",
        "resolve_vulnerability",
        "review_merge_request",
        "summarize_duo_workflow",
        "summarize_new_merge_request",
        "summarize_review",
    }
)
"""Ids of prompts that instances and editors ask for by name."""
_BY_ID: Mapping[str, str] = {
    "agent/chat": "duo_agent_platform_agentic_chat",
    "classify_code_review_mention_intent": "duo_agent_platform",
    "code_suggestions/completions": "code_completions",
    "code_suggestions/generations": "code_generations",
    "generate_session_title": "duo_agent_platform",
    "summarize_duo_workflow": "duo_agent_platform",
}
_BY_FIRST_SEGMENT: Mapping[str, str] = {"chat": "duo_chat"}


def feature_of(prompt_id: str) -> str:
    """The feature setting of a prompt when the caller names no model; it may not exist."""
    first = prompt_id.partition("/")[0]
    return _BY_ID.get(prompt_id) or _BY_FIRST_SEGMENT.get(first, first)

"""The prompts that we ship, against sections 9.3 and 9.5 of the HTTP gateway contract."""

from importlib.resources import files
from pathlib import Path

import pytest

from isthmus.core.errors import Invalid, NotFound
from isthmus.core.messages import Message, Text
from isthmus.gateway.budget import estimate
from isthmus.prompts.feature import SERVED, feature_of
from isthmus.prompts.registry import PREAMBLE, Prompt, Registry

ROOT = files("isthmus") / "library" / "prompts"
REGISTRY = Registry.load(ROOT)
SONNET = "claude_sonnet_4_5_20250929"
# id | unit primitive | versions | inputs
TABLE = """
categorize_question | duo_chat | 1.0.0 | previous_answer question
chat/build_reader | ask_build | 1.0.0 1.0.1-dev 1.0.1 1.1.0 | input suggestions
chat/commit_reader | ask_commit | 1.0.0 1.0.1-dev 1.0.1 1.1.0 | input suggestions
chat/documentation_search | documentation_search | 1.0.0 1.0.1 1.1.0 | content_id documents question
chat/epic_reader | ask_epic | 1.0.0 1.0.1-dev 1.0.1 1.1.0 | input suggestions
chat/explain_code | explain_code | 0.0.1-dev 1.0.0 1.0.1 1.1.0-dev 1.1.0 | \
file_content input language_info selected_text
chat/explain_vulnerability | explain_vulnerability | 0.0.1-dev 1.0.0 1.0.1 | \
identifiers language_info title vulnerability_description vulnerability_info
chat/fix_code | fix_code | 0.0.1-dev 1.0.0 1.0.1 1.1.0-dev 1.1.0 1.2.0 | \
file_content file_content_reuse input language_info libraries selected_text
chat/issue_reader | ask_issue | 1.0.0 1.0.1-dev 1.0.1 1.1.0 | input suggestions
chat/merge_request_reader | ask_merge_request | 1.0.0 1.0.1-dev 1.0.1 1.1.0 | input suggestions
chat/refactor_code | refactor_code | 0.0.1-dev 1.0.0 1.0.1 1.1.0-dev 1.1.0 1.2.0 1.3.0 | \
file_content file_content_reuse input language_info libraries selected_text
chat/summarize_comments | summarize_comments | 1.0.0 1.1.0 | notes_content
chat/troubleshoot_job | troubleshoot_job | 0.0.1-dev 1.0.0 1.0.1-alpha 1.0.2 1.1.0-dev 1.1.0 | \
language_info selected_text
chat/work_item_reader | ask_work_item | 1.0.0 | input suggestions
chat/write_tests | write_tests | 0.0.1-dev 1.0.0 1.0.1 1.1.0-dev 1.1.0 1.2.0 | \
file_content input language_info libraries selected_text
classify_code_review_mention_intent | duo_agent_platform | 1.0.0 | message
code_suggestions/completions | complete_code | 1.0.0 | file_name language prefix suffix
code_suggestions/generations | generate_code | 1.0.0 1.0.1 1.0.2 1.1.0-dev 1.1.0 1.2.0-dev 1.2.0 \
2.0.0 2.0.1 2.0.2-dev 2.0.2 2.0.3 3.0.2-dev | examples_array file_name language libraries \
related_files related_snippets trimmed_content_above_cursor trimmed_content_below_cursor \
user_instruction
embeddings_code | generate_embeddings_codebase | 1.0.0 | contents
feature_discovery_search | feature_discovery_search | 1.0.0 | catalog query
generate_commit_message | generate_commit_message | 1.0.0 1.1.0 1.2.0 | diff
generate_description | generate_issue_description | 1.0.0 | content template
generate_session_title | duo_agent_platform | 1.0.0 | context definition
glab_ask_git_command | glab_ask_git_command | 1.0.0 1.0.1 | prompt
measure_comment_temperature | measure_comment_temperature | 1.0.0 1.0.1 1.0.2 | content
model_configuration/check | complete_code | 1.0.0 |
resolve_vulnerability | resolve_vulnerability | 0.0.1-dev 1.0.0 1.0.1 1.0.2 | \
filename identifiers name source_code vulnerability_description vulnerable_code
review_merge_request | review_merge_request | 0.9.0 1.0.0 1.1.0 1.2.0 1.3.0 | current_date \
custom_instructions_section diff_lines full_content_section full_file_intro mr_description mr_title
summarize_duo_workflow | duo_agent_platform | 1.0.0 | logs
summarize_new_merge_request | summarize_new_merge_request | \
1.0.0 2.0.0 2.0.1 2.0.2-dev 2.0.2 2.1.0-dev 2.1.0 | extracted_diff
summarize_review | summarize_review | 1.0.0 2.0.0 2.1.0 3.0.0 | draft_notes_content
chat/agent | duo_chat | 1.0.0 1.0.1 |
chat/react | duo_classic_chat | 1.0.0 1.0.1 1.0.2-dev 1.1.0 |
"""
AGENTS = ("chat/agent", "chat/react")
"""Their variables are ours."""
OURS = {"context", "prefix", "suffix"}
"""What code suggestions take from our own use case besides."""
OTHER_SCOPES = {
    ("chat/commit_reader", "1.0.0"): "duo_chat",
    ("chat/commit_reader", "1.0.1-dev"): "duo_chat",
    ("chat/commit_reader", "1.0.1"): "duo_chat",
    ("summarize_review", "3.0.0"): "duo_agent_platform",
}
PINNED = ("chat/", "generate_commit", "resolve_vul", "review_merge", "summarize_new", "summarize_r")
PINS = {
    ("chat/agent", "1.0.1"): "",
    ("chat/fix_code", "1.2.0"): "",
    ("chat/refactor_code", "1.2.0"): "",
    ("chat/refactor_code", "1.3.0"): "",
    ("chat/write_tests", "1.2.0"): "",
    ("summarize_review", "3.0.0"): "",
    ("glab_ask_git_command", "1.0.0"): "claude_haiku_4_5_20251001",
    ("glab_ask_git_command", "1.0.1"): "claude_haiku_4_5_20251001",
    ("measure_comment_temperature", "1.0.0"): "gemini_1_5_flash_vertex",
    ("measure_comment_temperature", "1.0.1"): "gemini_2_5_flash_vertex",
    ("measure_comment_temperature", "1.0.2"): "gemini_2_5_flash_vertex",
    ("code_suggestions/generations", "1.2.0-dev"): "gemini_2_5_flash_vertex",
    ("code_suggestions/generations", "1.2.0"): "claude_sonnet_4_6_vertex",
    ("code_suggestions/generations", "2.0.0"): f"{SONNET}_vertex",
    ("code_suggestions/generations", "2.0.1"): f"{SONNET}_vertex",
    ("code_suggestions/generations", "2.0.2-dev"): f"{SONNET}_vertex",
    ("code_suggestions/generations", "2.0.2"): f"{SONNET}_vertex",
}
ROWS = [tuple(cell.strip() for cell in line.split("|")) for line in TABLE.strip().splitlines()]
CASES = [
    pytest.param(row[0], version, row[1], set(row[3].split()), id=f"{row[0]}-{version}")
    for row in ROWS
    for version in row[2].split()
]
REACT = {
    "question": "Why?",
    "tools": [{"name": "issue_reader", "description": "Reads", "example": "#1", "resource": "all"}],
    "history": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
    "current_file": {"file_path": "a.py", "data": "x = 1", "selected_code": True},
    "additional_context": [
        {"category": "file", "id": "7", "content": "held", "metadata": {"name": "b.py"}},
        {"category": "terminal", "id": None, "content": None, "metadata": None},
    ],
    "context": {"type": "issue", "title": "Crash", "content": None},
    "agent_scratchpad": [
        {"thought": "Look", "tool": "issue_reader", "tool_input": "#1", "observation": "a bug"}
    ],
    "unavailable_resources": ["pipelines", "vulnerabilities"],
    "current_date": "May 01, 2030",
}


def text_of(messages: tuple[Message, ...]) -> str:
    return "\n".join(p.text for m in messages for p in m.parts if isinstance(p, Text))


def sample(name: str) -> object:
    return [f"sample of {name}"] if name in {"documents", "libraries"} else f"sample of {name}"


def check_rendered(messages: tuple[Message, ...]) -> None:
    text = text_of(messages)
    assert messages[-1].role == "user"
    assert not any(sign in text for sign in ("{{", "}}", "{%", "%}", "Undefined", "undefined"))
    assert not any(message.role == "system" for message in messages[2:])


@pytest.mark.parametrize(("prompt_id", "version", "unit_primitive", "inputs"), CASES)
def test_every_version_that_callers_know_renders(
    prompt_id: str, version: str, unit_primitive: str, inputs: set[str]
) -> None:
    prompt = REGISTRY.get(prompt_id, version)
    key = (prompt_id, version)
    pinned = prompt_id.startswith(PINNED) or prompt_id.endswith("/generations")
    assert (prompt.id, prompt.version.text) == key
    assert prompt.unit_primitive == OTHER_SCOPES.get(key, unit_primitive)
    assert prompt.pinned_model == PINS.get(key, SONNET if pinned else "")
    assert prompt.name
    if prompt_id in AGENTS:
        return
    read = prompt.inputs | prompt.script.optional
    assert read - OURS == inputs - OURS
    assert prompt.inputs <= inputs
    full = prompt.messages({name: sample(name) for name in inputs})
    check_rendered(full)
    assert [name for name in inputs if f"sample of {name}" not in text_of(full)] == []
    check_rendered(prompt.messages({name: sample(name) for name in prompt.inputs}))
    if prompt.inputs:
        with pytest.raises(Invalid, match="Missing variables"):
            prompt.messages({})


def test_the_table_the_folder_and_the_list_of_served_ids_agree() -> None:
    # The others are asked for by flows.
    own = {name for name in REGISTRY.ids() if name == "agent/chat" or name.startswith("flows/")}
    assert {row[0] for row in ROWS} == SERVED == set(REGISTRY.ids()) - own
    listed = {(row[0], version) for row in ROWS for version in row[2].split()}
    held = {(p.id, p.version.text) for i in SERVED for p in REGISTRY.versions(i)}
    assert held == listed
    assert REGISTRY.check() == ()


@pytest.mark.parametrize("prompt_id", sorted(SERVED))
def test_h11_51_a_constraint_never_picks_a_pre_release(prompt_id: str) -> None:
    for constraint in ("^1.0.0", ">=0.0.1", "~1", "1.*"):
        assert not REGISTRY.get(prompt_id, constraint).version.pre
    assert REGISTRY.get(prompt_id).pinned_model == ""
    with pytest.raises(NotFound, match=r"^No version matching '9\.9\.9' "):
        REGISTRY.get(prompt_id, "9.9.9")


def test_h11_51_pre_releases_have_exact_names_and_the_star() -> None:
    generations = "code_suggestions/generations"
    assert REGISTRY.get(generations, "*").version.text == "3.0.2-dev"
    assert REGISTRY.get(generations, "1.2.0-dev").version.text == "1.2.0-dev"
    for wanted, found in (("^1.0.0", "1.2.0"), ("^2", "2.0.3"), ("~1.0.0", "1.0.2")):
        assert REGISTRY.get(generations, wanted).version.text == found
    for wanted in ("^3.0.0", "3.0.2"):
        with pytest.raises(NotFound):
            REGISTRY.get(generations, wanted)


def test_h11_50_an_unknown_prompt_is_named() -> None:
    with pytest.raises(NotFound, match=r"^Failed to load prompt definition for 'chat/nope'"):
        REGISTRY.get("chat/nope")


def test_h11_52_a_missing_variable_is_told() -> None:
    with pytest.raises(Invalid, match=r"^Missing variables: 'diff'\. Expected: 'diff'"):
        REGISTRY.get("generate_commit_message").messages({"dif": "x"})


def test_the_preamble_stands_before_every_prompt_but_two() -> None:
    preamble = (Path(str(ROOT)) / PREAMBLE).read_text().strip()
    without: set[str] = set()
    for prompt_id in REGISTRY.ids():
        prompt = REGISTRY.get(prompt_id)
        samples = REACT if prompt_id in AGENTS else {n: sample(n) for n in prompt.inputs}
        (first, *_) = prompt.messages(samples)
        if first.role == "system" and not text_of((first,)).startswith(preamble):
            without.add(prompt_id)
    assert without == {"code_suggestions/completions", "model_configuration/check"}


def test_no_prompt_is_long() -> None:
    for prompt_id in REGISTRY.ids():
        for prompt in REGISTRY.versions(prompt_id):
            samples = REACT if prompt_id in AGENTS else dict.fromkeys(prompt.inputs, "")
            assert len(text_of(prompt.messages(samples))) < 6_000, prompt_id
    own = REGISTRY.get("code_suggestions/generations").messages({"file_name": "", "language": ""})
    assert estimate(len(text_of(own))) <= 600  # what code suggestions keep free for our words


def test_the_chat_s_prompt_holds_everything_it_is_given() -> None:
    prompt = REGISTRY.get("chat/react")
    static, dynamic, said, answered, user = prompt.messages(REACT)
    assert [m.role for m in (static, dynamic, said, answered, user)] == [
        *("system", "system", "user", "assistant", "user")
    ]
    for marker in ("Thought:", "Action:", "Action Input:", "`Observation:`", "Final Answer:"):
        assert marker in text_of((static,))
    assert "- issue_reader: Reads\n  It knows about: all\n  Example: #1" in text_of((dynamic,))
    assert "You cannot look up: pipelines, vulnerabilities." in text_of((dynamic,))
    assert text_of((user,)) == (
        '<open_page type="issue" title="Crash">\nCrash\n</open_page>\n\n'
        '<selected_code path="a.py">\nx = 1\n</selected_code>\n\n'
        '<context_item category="file" id="7" metadata="{\'name\':\'b.py\'}">\nheld\n'
        "</context_item>\n\n\n<user_request>\nWhy?\n</user_request>\n\n"
        "What you have done so far:\n\nThought: Look\nAction: issue_reader\nAction Input: #1\n"
        "Observation:\n<observation>\na bug\n</observation>\n\nGo on with the next Thought."
    )
    assert (prompt.stop, prompt.timeout_s) == (("Observation:",), 30.0)
    alone = prompt.messages({"question": "Why?"})
    assert "You have no tools" in text_of(alone)
    assert text_of(alone[-1:]) == "<user_request>\nWhy?\n</user_request>"


def test_the_agent_s_prompt_takes_what_is_known_and_needs_nothing() -> None:
    prompt: Prompt = REGISTRY.get("chat/agent")
    assert prompt.inputs == set()
    assert len(prompt.script.optional) >= 14
    given = {n: f"sample of {n}" for n in prompt.script.optional} | {
        name: REACT[name] for name in ("current_file", "additional_context", "history")
    }
    rendered = prompt.messages(given)
    check_rendered((*rendered[:2], *rendered[4:]))
    words = {n for n in given if isinstance(given[n], str)}
    assert [n for n in words if f"sample of {n}" not in text_of(rendered)] == []
    assert [m.role for m in prompt.messages({})] == ["system", "system"]


def test_documents_may_be_text_or_a_list_of_anything() -> None:
    prompt = REGISTRY.get("chat/documentation_search")
    given = {"content_id": "SOURCES", "question": "How?"}
    listed = [{"content": "First.", "source": "a.md"}, "Second.", {"id": 3}]
    text = text_of(prompt.messages(given | {"documents": listed}))
    assert '<document number="1" source="a.md">\nFirst.\n</document>' in text
    assert '<document number="2">\nSecond.\n</document>' in text
    assert '<document number="3">\n{"id":3}\n</document>' in text
    assert "<documents>\nAll.\n</documents>" in text_of(
        prompt.messages(given | {"documents": "All."})
    )


def test_a_generation_takes_its_surroundings_by_either_name() -> None:
    prompt = REGISTRY.get("code_suggestions/generations")
    given = {"file_name": "a.py", "language": "python", "prefix": "up", "suffix": "down"}
    assert "up<cursor/>down" in text_of(prompt.messages(given))
    cut = {"trimmed_content_above_cursor": "p", "trimmed_content_below_cursor": None}
    assert "p<cursor/>down" in text_of(prompt.messages(given | cut))


@pytest.mark.parametrize(
    ("prompt_id", "feature"),
    [
        ("code_suggestions/completions", "code_completions"),
        ("code_suggestions/generations", "code_generations"),
        ("classify_code_review_mention_intent", "duo_agent_platform"),
        ("generate_session_title", "duo_agent_platform"),
        ("summarize_duo_workflow", "duo_agent_platform"),
        ("chat/explain_code", "duo_chat"),
        ("model_configuration/check", "model_configuration"),
        ("generate_commit_message", "generate_commit_message"),
        ("agent/chat", "duo_agent_platform_agentic_chat"),
    ],
)
def test_a_prompt_belongs_to_a_feature(prompt_id: str, feature: str) -> None:
    assert feature_of(prompt_id) == feature

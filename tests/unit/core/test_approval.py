"""What an owner allowed for the rest of a session."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.core.approval import Match, call_hash, canonical, matches, with_call, with_pattern
from isthmus.core.errors import Invalid
from isthmus.core.workflow import ToolApproval

NOTHING = ToolApproval()


def run(line: str) -> str:
    return json.dumps({"command": line})


def test_the_same_arguments_match_and_others_do_not() -> None:
    approval = with_call(NOTHING, '{"b": [1, 2], "a": {"y": 1, "x": "é"}}')
    same = '{"a":{"x":"\\u00e9","y":1},"b":[1,2]}'
    assert canonical('{"b": 1, "a": 2}') == '{"a":2,"b":1}'
    assert matches(approval, "read_file", same) is Match.CALL
    assert not matches(approval, "read_file", '{"a":{"x":"\\u00e9","y":1},"b":[2,1]}')
    assert len(call_hash("{}")) == 64


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "NaN", "1e999", '"\ud800"'])
def test_any_text_has_a_hash(text: str) -> None:
    assert matches(with_call(NOTHING, text), "t", text) is Match.CALL


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        ("git push *", "git push origin main"),
        ("git push origin *", "git push origin main"),
        ("git log --oneline *", "git log --oneline src/a.py"),
        ("pytest tests/*.py", "pytest tests/test_a.py"),
        ("git * main", "git merge 'a b' main"),
        ("ls", "ls"),
    ],
)
def test_patterns_match_words(pattern: str, line: str) -> None:
    approval = with_pattern(NOTHING, "run_command", pattern)
    assert matches(approval, "run_command", run(line)) is Match.PATTERN


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        ("git push *", "git push"),
        ("git push *", "git push --force"),
        ("git push *", "git push origin --force"),
        ("git push *", "git pull origin"),
        ("git push -*", "git push --force"),
        ("git push *", "git push origin; rm x"),
        ("git push *", "git push origin && rm x"),
        ("git push *", "git push 'origin|x'"),
        ("git push *", "git push $HOME"),
        ("git push *", "git push `id`"),
        ("git push *", "git push {a,b}"),
        ("git push *", "git push a > b"),
        ("git push *", "git push a\nrm x"),
        ("git push *", "git push 'a"),
        ("git push *", "git  "),
        ("git push *", ""),
        ("sh *", "sh x.sh"),
        ("sudo *", "sudo ls"),
        ("* x", "git x"),
        ("pytest tests/*.py", "pytest tests/test_a.py tests/test_b.py"),
    ],
)
def test_patterns_never_match_more(pattern: str, line: str) -> None:
    approval = ToolApproval(patterns=(pattern,))
    assert matches(approval, "run_command", run(line)) is Match.NO


def test_a_command_is_put_together_from_the_arguments_that_its_tool_has() -> None:
    approval = ToolApproval(patterns=("git log *",))
    assert matches(approval, "run_command", '{"program":"git","args":"log a"}')
    assert matches(approval, "run_git_command", '{"command":"log","args":"a"}')
    assert not matches(approval, "run_git_command", '["log"]')
    assert not matches(approval, "run_command", "{")
    assert not matches(approval, "run_command", '{"program":["git"]}')


def test_other_tools_match_the_text_of_their_arguments() -> None:
    approval = with_pattern(NOTHING, "read_file", '{"file_path":"src/*"}')
    assert matches(approval, "read_file", '{ "file_path": "src/a" }') is Match.PATTERN
    assert matches(approval, "read_file", '{"file_path":"lib/a"}') is Match.NO


@pytest.mark.parametrize("pattern", ["", " ", "*", "git **", "git ; ls", "git $x", "x" * 257])
def test_patterns_that_are_refused(pattern: str) -> None:
    with pytest.raises(Invalid):
        with_pattern(NOTHING, "run_command", pattern)


def test_approvals_are_bounded() -> None:
    full = ToolApproval(frozenset(map(str, range(1000))), tuple(f"git {n}" for n in range(100)))
    with pytest.raises(Invalid):
        with_pattern(full, "run_command", "git x")
    with pytest.raises(Invalid):
        with_call(full, "{}")
    assert with_pattern(full, "run_command", "git 1") == full


@given(st.text(max_size=40))
def test_no_line_with_a_metacharacter_fits_a_pattern(text: str) -> None:
    approval = ToolApproval(patterns=("git *", "git * *", "ls *"))
    if matches(approval, "run_command", run(f"git {text}")):
        assert not set(text) & set(";&|<>$`(){}\n")

"""A project's own rules of files that no tool may touch."""

from typing import Any

import pytest

from isthmus.contract.contract_pb2 import StartWorkflowRequest
from isthmus.core.errors import ToolRefused
from isthmus.core.identity import ClientInfo
from isthmus.core.workflow import Terms
from isthmus.platform import calls, start
from isthmus.platform.exclusion import MAX_CHARS, NOTHING, Exclusion
from isthmus.platform.offer import Given, Wishes, kit
from isthmus.platform.policy import Deny
from isthmus.platform.toolbox import all_tools
from tests.support.instance import Instance, ok

TOOLS = all_tools()
RULES = Exclusion(
    ["*.key", "/private/", "docs/**/draft.md", "!keep.key", "# a remark", "!", "[z-a]"]
)
CLIENT = ClientInfo({"x-gitlab-version": "18.7.0"})


@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        ("a.key", True),
        ("./deep/in/a.key", True),
        ("deep\\a.key", True),
        ("keep.key", False),
        ("private/x/y.py", True),
        ("src/private/y.py", False),
        ("docs/a/b/draft.md", True),
        ("docs/a/b/final.md", False),
        (".env", True),
        ("src/a.py", False),
    ],
)
def test_rules_are_those_of_gitignore(path: str, hidden: bool) -> None:
    assert RULES.hides(path) is hidden


def test_without_rules_only_the_list_for_all_counts() -> None:
    assert not NOTHING.hides("a.key")
    assert NOTHING.hides(".git/config")


@pytest.mark.parametrize("longer", [False, True])
async def test_listings_lose_hidden_lines(longer: bool) -> None:
    more = "src/module.py:1:x\n" * 10_000 if longer else ""
    assert await RULES.without("a.py\n.env\na.key\n.git/config\nb.py") == "a.py\nb.py"
    found = await RULES.without(more + "a.py:1:x\n.env:2:KEY=1\na.key:1:x\n", ":")
    assert found == more + "a.py:1:x\n"


def test_rules_that_are_meant_to_hurt_take_linear_time() -> None:
    # With a matcher that steps back, this one rule takes minutes for this one path.
    assert not Exclusion(("*a" * 12 + "b",)).hides("a" * 200)


@pytest.mark.parametrize(
    "rules",
    [
        ("*.key",) * 501,
        ("x" * 257,),
        tuple(f"{number:03}{'y' * 240}" for number in range(MAX_CHARS // 240)),
        tuple("*a" * 120 + str(number) for number in range(130)),
    ],
    ids=["many", "long", "large", "beyond the matcher"],
)
def test_rules_that_cannot_be_held_hide_every_file(rules: tuple[str, ...]) -> None:
    assert Exclusion(rules).hides("src/a.py")


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("read_file", '{"file_path":"a.key"}'),
        ("edit_file", '{"file_path":"private/x"}'),
        ("create_file_with_contents", '{"file_path":"a.key","contents":""}'),
        ("mkdir", '{"directory_path":"private/x"}'),
    ],
)
def test_a12_43_excluded_paths_are_refused_without_an_action(name: str, args: str) -> None:
    said = start.read(StartWorkflowRequest(workflowID="7"), CLIENT)
    given = Given(said, CLIENT, Terms(), {}, exclusion=RULES)
    found = kit(Wishes(tuple(TOOLS), asks=False), given, TOOLS)
    verdict = calls.read(calls.stored_use("c", name, args), found.tools, found.policy).verdict
    assert isinstance(verdict, Deny)
    assert "excluded due to policy" in verdict.reason


def machine(*answers: Any) -> Instance:
    instance = Instance(*answers)
    instance.exclusion = RULES
    return instance


async def test_tools_of_several_paths_say_which_they_left_out() -> None:
    together = machine('{"a.py": {"content": "x"}}')
    found = await together.read(TOOLS["read_files"], file_paths=["a.py", "a.key"])
    assert found == {"a.py": {"content": "x"}, "a.key": {"error": "excluded due to policy"}}
    listed = machine("a.py\na.key\n")
    assert await listed.run(TOOLS["list_dir"], directory=".") == "a.py\n"
    diffs = [{"old_path": "a.key", "new_path": "b.txt", "diff": "secret"}]
    changed = machine(ok(diffs))
    shown = await changed.read(TOOLS["list_merge_request_diffs"], project_id=1, merge_request_iid=2)
    assert shown == [{"new_path": "b.txt", "diff": "excluded due to policy"}]


async def test_files_of_the_repository_are_kept_back_as_well() -> None:
    with pytest.raises(ToolRefused, match="excluded due to policy"):
        await machine().run(TOOLS["get_repository_file"], project_id=1, file_path="a.key")
    change = {"action": "create", "file_path": "private/x", "content": ""}
    with pytest.raises(ToolRefused, match="protected"):
        await machine().run(
            TOOLS["create_commit"],
            project_id=1,
            branch="b",
            commit_message="m",
            actions=[change],
        )

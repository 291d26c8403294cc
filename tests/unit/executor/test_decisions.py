"""Small decisions of the executor: approvals, patience, addresses, windows of lines, edits."""

import asyncio

import pytest

from isthmus.contract.contract_pb2 import Action, Approval
from isthmus.core.errors import ToolRefused
from isthmus.executor.actions.edit_file import occurrences, replaced
from isthmus.executor.actions.read_file import window
from isthmus.executor.address import BadAddress, address_of
from isthmus.executor.approve import Approver, Mode, decision
from isthmus.executor.channel import Access
from isthmus.executor.client import Patience
from isthmus.executor.git_arguments import git_words
from isthmus.executor.mask import NOTE, Mask
from isthmus.executor.policy import Policy
from isthmus.executor.process import git_settings, scrubbed
from isthmus.executor.snippets import shown
from isthmus.executor.task import Task
from isthmus.executor.transcript import ToolInfo


class Person:
    """Gives prepared answers, and keeps the questions."""

    def __init__(self, *answers: str, interactive: bool = True) -> None:
        self._answers = list(answers)
        self.interactive = interactive
        self.questions: list[str] = []

    async def ask(self, question: str) -> str | None:
        self.questions.append(question)
        await asyncio.sleep(0)
        return self._answers.pop(0) if self._answers else None


YES = Approval(approval=Approval.Approved())
NO = Approval(rejection=Approval.Rejected())


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("y", YES),
        (" YES ", YES),
        ("n", NO),
        ("", NO),
        (None, NO),
        ("use ls", Approval(rejection=Approval.Rejected(message="use ls"))),
        ("yep", Approval(rejection=Approval.Rejected(message="yep"))),
    ],
)
def test_only_a_plain_yes_approves(answer: str | None, wanted: Approval) -> None:
    assert decision(answer) == wanted


@pytest.mark.parametrize(
    ("mode", "person", "wanted"),
    [
        ("all", Person(), YES),
        ("none", Person("y"), NO),
        ("ask", Person("y"), YES),
        ("ask", Person("n"), NO),
        (
            "ask",
            Person("y", interactive=False),
            NO,
        ),
    ],
)
async def test_the_mode_decides_who_is_asked(mode: Mode, person: Person, wanted: Approval) -> None:
    calls = [ToolInfo("mkdir", {"directory_path": "x\x1b[2J"})]
    assert await Approver(mode, person).decide(calls) == wanted
    assert len(person.questions) == int(mode == "ask" and person.interactive)
    assert all("mkdir" in question and "\x1b" not in question for question in person.questions)


@pytest.mark.parametrize(
    ("mode", "approved", "answer", "admitted", "asked"),
    [
        ("all", False, "", True, 0),
        ("none", True, "y", False, 0),
        ("ask", True, "", True, 0),
        ("ask", False, "y", True, 1),
        ("ask", False, "", False, 1),
        ("ask", False, "sure", False, 1),
    ],
)
async def test_a_change_nobody_approved_needs_a_yes_here(
    mode: Mode, approved: bool, answer: str, admitted: bool, asked: int
) -> None:
    person = Person(answer)
    approver = Approver(mode, person)
    action = Action(runCommand={"program": "rm", "arguments": ["-rf", "x"]})
    assert await approver.admits(action, "run", approved=approved) is admitted
    assert len(person.questions) == asked
    assert await approver.admits(action, "read", approved=False)


def test_pauses_grow_to_a_limit_and_jitter() -> None:
    patience = Patience(first_s=1.0, longest_s=8.0)
    assert [patience.pause_s(n, 1.0) for n in (1, 2, 3, 4, 5, 1000)] == [1, 2, 4, 8, 8, 8]
    assert patience.pause_s(3, 0.0) == 2.0


@pytest.mark.parametrize(
    ("url", "target", "secure"),
    [
        ("grpc://127.0.0.1:50052", "127.0.0.1:50052", False),
        ("grpc://[::1]:1/", "[::1]:1", False),
        ("grpc://localhost:9", "localhost:9", False),
        ("grpcs://agents.example.test:443", "agents.example.test:443", True),
    ],
)
def test_an_address_is_read(url: str, target: str, secure: bool) -> None:
    address = address_of(url)
    assert (address.target, address.secure) == (target, secure)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:50052",
        "http://127.0.0.1:1",
        "grpc://example.test:1",
        "grpc://127.0.0.1",
        "grpc://127.0.0.1:99999",
        "grpc://u:p@127.0.0.1:1",
        "grpc://127.0.0.1:1/x",
        "grpc://127.0.0.1:1?x",
    ],
)
def test_a_bad_address_is_refused(url: str) -> None:
    with pytest.raises(BadAddress):
        address_of(url)


def test_a_token_never_shows() -> None:
    access = Access(address_of("grpc://localhost:1"), (("a", "b"),), "hunter2")
    assert "hunter2" not in repr(access)
    assert access.metadata == (("a", "b"), ("authorization", "Bearer hunter2"))


def test_a_resumed_session_sends_no_goal() -> None:
    task = Task("7", "do it")
    assert task.first().goal == "do it"
    again = task.start()
    assert (again.workflowID, again.goal, again.HasField("approval")) == ("7", "", False)
    assert task.start(YES).approval == YES


TEXT = "a\nb\nc\nd"
MORE = "Use offset=2 to continue reading."


@pytest.mark.parametrize(
    ("offset", "limit", "wanted"),
    [
        (0, 2000, TEXT),
        (0, 4, TEXT),
        (0, 2, f"a\nb\n\n(Showing lines 1-2 of 4 total. {MORE})"),
        (2, 2, "c\nd\n\n(Showing lines 3-4 of 4 total.)"),
        (3, 9**18, "d\n\n(Showing lines 4-4 of 4 total.)"),
    ],
)
def test_a_window_of_lines_says_where_to_go_on(offset: int, limit: int, wanted: str) -> None:
    assert window(TEXT, offset, limit) == wanted


def test_a_window_ends_where_its_bytes_end() -> None:
    many = window("\n".join(["é" * 500] * 100), 0, 2000)
    assert many.endswith("(Showing lines 1-51 of 100 total. Use offset=51 to continue reading.)")
    long = window("é" * 40_000 + "\nend", 0, 2000)
    assert long.count("é") == 25 * 1024
    assert "(Showing lines 1-1 of 2 total. Use offset=1 to continue reading.)" in long


@pytest.mark.parametrize(("offset", "limit"), [(-1, 1), (0, 0), (0, -5), (4, 1)])
def test_a_window_outside_the_file_is_refused(offset: int, limit: int) -> None:
    with pytest.raises(ToolRefused):
        window(TEXT, offset, limit)


def test_an_edit_needs_exactly_one_place() -> None:
    assert replaced("abc", "b", "X", "f") == "aXc"
    assert replaced("abc", "z", "X", "f") is None
    for text, old, count in (("abab", "ab", 2), ("aaa", "aa", 2)):
        with pytest.raises(ToolRefused, match=f"ambiguous match, .* occurs {count} times"):
            replaced(text, old, "x", "f")
    with pytest.raises(ToolRefused, match="empty"):
        replaced("abc", "", "x", "f")
    assert replaced("", "", "x", "f") == "x"


def test_an_edit_follows_the_files_line_ends() -> None:
    assert replaced("a\r\nb\r\nc", "a\nb", "x\ny", "f") == "x\r\ny\r\nc"
    assert replaced("a\r\nb", "a\r\nb", "x\r\ny", "f") == "x\r\ny"
    assert replaced("a\nb", "a\r\nb", "x\r\ny", "f") == "x\ny"


def test_counting_stops() -> None:
    assert occurrences("a" * 1_000_000, "a") == 1000


def test_programs_see_no_secrets_and_no_settings_of_ours() -> None:
    kept = scrubbed(
        {
            "PATH": "/bin",
            "HOME": "/home/me",
            "LANG": "C",
            "KEYBOARD": "us",
            "MONKEY": "1",
            "ISTHMUS_TOKEN": "x",
            "isthmus_auth__signing_key": "x",
            "AIGW_X": "x",
            "DUO_WORKFLOW_X": "x",
            "GITHUB_TOKEN": "x",
            "ANTHROPIC_API_KEY": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "DB_PASSWORD": "x",
            "PGPASSWORD": "x",
            "SENTRY_DSN": "x",
            "SSH_AUTH_SOCK": "/run/agent",
            "DATABASE_URL": "postgres://me:pw@db/x",
            "https_proxy": "http://me:pw@proxy:3128",
            "GOOGLE_APPLICATION_CREDENTIALS": "/x.json",
        }
    )
    assert set(kept) == {
        "PATH", "HOME", "LANG", "KEYBOARD", "MONKEY", "AI_AGENT", "GIT_TERMINAL_PROMPT", "PAGER"
    }  # fmt: skip


def test_gits_settings_in_the_environment_stay_but_for_logins() -> None:
    pairs = (
        ("safe.directory", "*"),
        ("http.https://git.example.test/.extraheader", "Authorization: Basic x"),
        ("core.hooksPath", "/dev/null"),
        ("url.https://me:pw@git.example.test/.insteadOf", "https://git.example.test/"),
    )
    kept = scrubbed(git_settings(pairs) | {"GIT_PASSWORD": "x"})
    assert {name: value for name, value in kept.items() if name.startswith("GIT_CONFIG")} == {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "GIT_CONFIG_KEY_1": "core.hooksPath",
        "GIT_CONFIG_VALUE_1": "/dev/null",
    }
    assert "GIT_PASSWORD" not in kept


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("status", "", ["status"]),
        ("commit", "-m 'two words' --amend", ["commit", "-m", "two words", "--amend"]),
        ("log", "--oneline -n 3 -- -C", ["log", "--oneline", "-n", "3", "--", "-C"]),
        ("push", "-u origin HEAD", ["push", "-u", "origin", "HEAD"]),
        ("switch", "-c topic", ["switch", "-c", "topic"]),
    ],
)
def test_git_arguments_are_words(command: str, arguments: str, words: list[str]) -> None:
    assert git_words(command, arguments) == words


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("config", "alias.x '!id'"),
        ("-c", "core.pager=id status"),
        ("submodule", "foreach id"),
        ("fetch", "--upload-pack=id origin"),
        ("fetch", "--upload-pa=id origin"),
        ("ls-remote", "-u id ."),
        ("grep", "-Oid x"),
        ("rebase", "-x id HEAD~1"),
        ("rebase", "--exec id HEAD~1"),
        ("diff", "--output=/tmp/x"),
        ("diff", "--ext-diff"),
        ("diff", "--no-index /etc/passwd x"),
        ("clone", "ext::sh%20-c%20id x"),
        ("fetch", "-c x"),
        ("log", "'unbalanced"),
        ("log", "a\0b"),
    ],
)
def test_unsafe_git_arguments_are_refused(command: str, arguments: str) -> None:
    with pytest.raises(ToolRefused):
        git_words(command, arguments)


@pytest.mark.parametrize(
    ("line", "fits"),
    [
        ("ls -l; echo a > b", True),
        ("sudo rm x", False),
        ("make && /usr/bin/sudo rm x", False),
        ("A=1 sudo", False),
        ("echo sudo", True),
        ("echo 'a", False),
        ("  ", False),
    ],
)
def test_a_line_of_shell_is_held_to_the_policy(line: str, fits: bool) -> None:
    if fits:
        Policy().check_line(line)
    else:
        with pytest.raises(ToolRefused):
            Policy().check_line(line)


def test_an_allow_list_admits_nothing_else() -> None:
    policy = Policy(allowed=("git status *", "make *"))
    policy.check(("git", "status"))
    policy.check_line("/usr/bin/make test")
    for line in ("git push", "make; id", "make $(id)", "makeup"):
        with pytest.raises(ToolRefused):
            policy.check_line(line)


def test_secrets_are_masked_with_a_note() -> None:
    mask = Mask(("run-token-1", "short"))
    assert mask("nothing here, short") == "nothing here, short"
    assert mask("x run-token-1 y") == f"x [MASKED] y{NOTE}"
    key = "AKIA" + "Z" * 16
    assert key not in mask(f"aws_access_key_id = {key}")


def test_places_are_ranked_joined_and_cut() -> None:
    lines = [f"line {number}" for number in range(1, 31)]
    answer = shown(
        {"b.py": [1, 2, 20], "a.py": [9], "c.py": list(range(1, 30, 4))}, lambda _: lines
    )
    head, *blocks = answer.split("\n\n")
    assert head == "Found 9 match(es) across 3 file(s)"
    assert blocks[0] == "b.py:1_3\nline 1\nline 2\nline 3"
    assert blocks[1] == "a.py:8_10\nline 8\nline 9\nline 10"
    assert [block.split("\n")[0] for block in blocks].count("c.py:1_2") == 1
    many = shown({f"{n:03}.py": [1] for n in range(150)}, lambda _: ["x" * 9000])
    assert many.startswith(
        "Found 150 match(es) across 150 file(s) (showing first 100)\n\n000.py:1_1"
    )
    assert max(map(len, many.split("\n"))) == 5000
    assert shown({}, lambda _: []) == "No matches found."

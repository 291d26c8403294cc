"""What may run, what asks, what is refused."""

import msgspec
import pytest

from isthmus.platform.policy import Allow, Ask, Deny, Policy, agreed, patterns
from isthmus.platform.tool import Client, Tool


class Args(msgspec.Struct):
    path: str = "a"


async def run(_: Args, __: Client) -> str:
    return ""


TOOL = Tool("t", "", Args, run, "write", lambda _: "T", paths=lambda args: (args.path,))


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [
        (Policy(), Ask()),
        (Policy(asks=False), Allow()),
        (Policy(preapproved=frozenset({"t"})), Allow()),
        (Policy(preapproved=frozenset({"other"})), Ask()),
    ],
)
def test_the_order_of_a_verdict(policy: Policy, verdict: object) -> None:
    assert policy.verdict(TOOL, Args()) == verdict


def test_a_denied_tool_or_path_is_refused_whatever_was_approved() -> None:
    all_in = Policy(preapproved=frozenset({"t"}), denied=frozenset({"t"}), asks=False)
    assert isinstance(all_in.verdict(TOOL, Args()), Deny)
    approved = Policy(preapproved=frozenset({"t"}), asks=False)
    assert isinstance(approved.verdict(TOOL, Args(".env")), Deny)


@pytest.mark.parametrize(
    ("claim", "preapproved", "denied"),
    [
        (None, {"flow", "client"}, set[str]()),
        ("", {"flow", "client"}, set[str]()),
        ({}, {"flow", "client"}, set[str]()),
        ({"allow": ["a"]}, {"flow", "a"}, set[str]()),
        ('{"allow": ["a"]}', {"flow", "a"}, set[str]()),
        ({"ask": ["flow"]}, set[str](), set[str]()),
        ({"deny": ["flow", "d"]}, set[str](), {"flow", "d"}),
        ("not json", {"flow"}, set[str]()),
        ({"allow": "a"}, {"flow"}, set[str]()),
        ([1], {"flow"}, set[str]()),
        ("[" * 100_000, {"flow"}, set[str]()),
    ],
)
def test_the_policy_claim_replaces_what_the_client_approved(
    claim: object, preapproved: set[str], denied: set[str]
) -> None:
    policy = agreed(["flow"], ["client"], claim)
    assert (policy.preapproved, policy.denied) == (preapproved, denied)


@pytest.mark.parametrize(
    ("args", "offers"),
    [
        ({"command": "git push origin main"}, ["git push origin *", "git push *"]),
        ({"program": "git", "args": "log -1"}, ["git log *"]),
        ({"program": "git", "args": "log"}, []),
        ({"program": "ls"}, []),
    ],
)
def test_wider_approvals_are_offered_for_long_commands(
    args: dict[str, object], offers: list[str]
) -> None:
    assert patterns("run_command", args) == offers
    assert patterns("read_file", args) == []


def test_wider_approvals_of_git_commands() -> None:
    args = {"repository_url": "", "command": "log", "args": "--oneline -3"}
    assert patterns("run_git_command", args) == ["git log --oneline *", "git log *"]
    assert patterns("run_git_command", {"command": "status"}) == []

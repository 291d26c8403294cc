"""GitLab's provider of the AI SDK, unmodified, in sessions of the agent platform."""

from pathlib import Path

import pytest

from tests.support.npm import Clients, Fact, turns
from tests.support.npm_stand import NUMBERS, Stand

MODEL = "duo-workflow-sonnet-4-6"


def _ran(facts: list[Fact]) -> list[str]:
    return [fact["ran"] for fact in facts if "ran" in fact]


def _asked(facts: list[Fact]) -> list[list[str]]:
    return [[tool["name"] for tool in fact["asked"]] for fact in facts if "asked" in fact]


def _ended_well(turn: Fact, text: str) -> None:
    assert turn["errors"] == []
    assert turn["text"].endswith(text), turn["text"]
    assert turn["finish"] == "stop"


@pytest.mark.parametrize("run", ["first", "second"])
def test_i7_57_a_session_reads_edits_and_runs_with_approval_and_goes_on(
    clients: Clients, stand: Stand, repository: Path, run: str
) -> None:
    before = len(stand.upstream.asked)
    facts = clients.drive(
        "workflow",
        stand.account,
        model=MODEL,
        folder=str(repository),
        prompts=["Please [mend] it", "And [again]"],
        approve=True,
    )
    first, second = turns(facts)
    _ended_well(first, "I mended the title.")
    _ended_well(second, "Hello once more.")
    assert _ran(facts) == ["read", "edit", "bash"], run
    assert _asked(facts) == [["edit_file"], ["run_command"]]
    assert (repository / "README.md").read_text().startswith("# Mended")
    assert "README.md" in (repository / "status.txt").read_text()
    # A conversation of the platform's own: the model is told of the first turn in the second.
    told = stand.upstream.asked[-1].body["messages"]
    assert len(stand.upstream.asked) == before + 5
    assert "I mended the title." in str(told[:-1])


@pytest.mark.parametrize("model", ["duo-workflow", "duo-workflow-default"])
def test_i7_57_a_tool_of_the_client_is_carried_out_by_it(
    clients: Clients, stand: Stand, repository: Path, model: str
) -> None:
    facts = clients.drive(
        "workflow", stand.account, model=model, folder=str(repository), prompts=["Have a [look]"]
    )
    (turn,) = turns(facts)
    _ended_well(turn, "I looked at a demo.")
    assert _ran(facts) == ["read"]
    assert "A small project." in str(stand.upstream.asked[-1].body["messages"][-1])


def test_i7_57_what_a_person_refuses_is_not_done(
    clients: Clients, stand: Stand, repository: Path
) -> None:
    facts = clients.drive(
        "workflow",
        stand.account,
        model=MODEL,
        folder=str(repository),
        prompts=["Please [mend] it"],
        approve=False,
    )
    (turn,) = turns(facts)
    _ended_well(turn, "I mended the title.")
    assert _ran(facts) == ["read"]
    assert (repository / "README.md").read_text().startswith("# Demo")
    assert not (repository / "status.txt").exists()


def test_i7_57_an_aborted_turn_stops_and_the_next_one_goes_on(
    clients: Clients, stand: Stand, repository: Path
) -> None:
    before = stand.upstream.left
    stand.upstream.pause_s = 0.02
    plan = {"model": MODEL, "folder": str(repository), "pause": True, "abortAfter": "1 2 3"}
    try:
        with clients.driving(
            "workflow", stand.account, **plan, prompts=["Count [long]", "And [again]"]
        ) as run:
            first = run.turn()
            assert stand.upstream.was_left(before + 1)
            stand.upstream.pause_s = 0.0
            run.go_on()
            second = run.turn()
    finally:
        stand.upstream.pause_s = 0.0
    assert first["aborted"]
    assert first["text"] != NUMBERS
    _ended_well(second, "Hello once more.")


def test_a_session_goes_on_after_the_server_was_killed(
    clients: Clients, stand: Stand, repository: Path
) -> None:
    plan = {"model": MODEL, "folder": str(repository), "approve": True, "pause": True}
    with clients.driving(
        "workflow", stand.account, **plan, prompts=["Please [mend] it", "And [again]"]
    ) as run:
        _ended_well(run.turn(), "I mended the title.")
        stand.again()
        run.go_on()
        _ended_well(run.turn(), "Hello once more.")
    assert "I mended the title." in str(stand.upstream.asked[-1].body["messages"][:-1])


def test_a_turn_that_a_kill_cuts_is_told_and_the_next_one_goes_on(
    clients: Clients, stand: Stand, repository: Path
) -> None:
    asked = len(stand.upstream.asked)
    stand.upstream.pause_s = 0.05
    plan = {"model": MODEL, "folder": str(repository), "pause": True}
    try:
        with clients.driving(
            "workflow", stand.account, **plan, prompts=["Count [long]", "And [again]"]
        ) as run:
            assert stand.upstream.was_asked(asked + 1)
            stand.again()
            first = run.turn()
            stand.upstream.pause_s = 0.0
            run.go_on()
            second = run.turn()
    finally:
        stand.upstream.pause_s = 0.0
    assert first["errors"]
    assert first["text"] != NUMBERS
    _ended_well(second, "Hello once more.")

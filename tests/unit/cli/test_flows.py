"""`isthmus flows`: what it lists, checks and draws, and how it refuses."""

import argparse
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from isthmus.cli import flows as command
from isthmus.settings import Settings

GOOD = """
version: v1
environment: ambient
flow: {entry_point: look}
components:
  - name: look
    type: DeterministicStepComponent
    tool_name: list_dir
    inputs: [{from: ".", as: directory, literal: true}]
  - name: boss
    type: AgentComponent
    prompt_id: p
    toolset: []
    inputs: ["context:goal"]
    subagents: [{name: sub}]
  - name: sub
    type: AgentComponent
    prompt_id: p
    toolset: [read_file]
    inputs: ["context:goal"]
    description: Reads.
routers:
  - from: look
    condition:
      input: "context:look.execution_result"
      routes: {success: boss, default_route: abort}
  - {from: boss, to: end}
prompts: [{prompt_id: p, prompt_template: {user: "{{ goal }}"}}]
"""


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    args = parser.parse_args(["flows", *words])
    code: int = args.run(args, Settings())
    return code


def test_every_flow_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["ID", "VERSION", "SCHEMA", "ENVIRONMENT"]
    assert ["developer", "2.1.0-interactive", "v1", "chat"] in rows


def test_files_and_the_flows_of_the_server_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yml"
    file.write_text(GOOD)
    assert run("check") == 0
    assert run("check", str(file)) == 0
    assert capsys.readouterr().out == "ok\nok\n"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (GOOD.replace("{{ goal }}", "{{ other }}"), "'other'"),
        (GOOD.replace("to: end", "to: nowhere"), "there is no component 'nowhere'"),
        ("a: [", "while parsing"),
        ("version: v1", "Missing required field: environment"),
    ],
)
def test_what_is_wrong_is_told_with_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, fault: str
) -> None:
    file = tmp_path / "a.yml"
    file.write_text(text)
    assert run("check", str(file)) == 1
    told = capsys.readouterr().err
    assert str(file) in told
    assert fault in told


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", str(tmp_path / "no.yml")) == 2
    assert "no.yml" in capsys.readouterr().err


def test_a_flow_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.yml"
    file.write_text(GOOD)
    assert run("graph", str(file)) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(file),
        "> look: calls list_dir",
        "    by context:look.execution_result",
        "    success -> boss",
        "    else -> abort",
        "  boss: agent, 0 tools",
        "    = sub: agent, 1 tool",
        "    -> end",
    ]


def test_a_flow_of_the_server_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("graph", "developer", "--version", "2.1.0-interactive") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "developer 2.1.0-interactive (v1, chat)"
    assert any(line.startswith("    = reviewer: agent") for line in told)
    assert run("graph", "chat") == 0
    assert "    -> the user, and back" in capsys.readouterr().out


def test_a_flow_is_drawn_as_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, text = tmp_path / "a.svg", tmp_path / "a.txt"
    assert run("graph", "developer", "--svg") == 0
    told = capsys.readouterr().out
    assert run("graph", "developer", "--svg", "--output", str(picture)) == 0
    assert run("graph", "developer", "--output", str(text)) == 0
    assert capsys.readouterr().out == ""
    assert picture.read_text(encoding="utf-8") == told
    assert ET.fromstring(told).tag.endswith("svg")  # noqa: S314 - what we made ourselves
    assert text.read_text(encoding="utf-8").startswith("developer 3.0.0")
    assert run("graph", "developer", "--svg", "--output", str(tmp_path / "no" / "a.svg")) == 2
    assert "a.svg" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["nobody"], ["developer", "--version", "^9.0.0"]])
def test_a_flow_that_is_not_there(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("graph", *words) == 2
    assert "there is no flow" in capsys.readouterr().err

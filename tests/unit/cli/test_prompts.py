"""`isthmus prompts`: what it lists, checks and renders, and how it refuses."""

import argparse
from pathlib import Path

import pytest

from isthmus.cli import prompts as command
from isthmus.prompts.registry import Registry
from isthmus.routing.catalogue import Catalogue
from isthmus.settings import Settings

GOOD = "name: P\nunit_primitive: duo_chat\nprompt_template: {user: 'Say {{ word }}'}\n"


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    args = parser.parse_args(["prompts", *words])
    code: int = args.run(args, Settings())
    return code


def library(folder: Path, **texts: str) -> str:
    for name, text in texts.items():
        (folder / name).mkdir()
        (folder / name / "1.0.0.yml").write_text(text)
    return str(folder)


def test_every_file_is_listed_with_its_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0][0] == "ID"
    assert ["summarize_review", "3.0.0", "duo_agent_platform", "draft_notes_content"] in rows
    assert [row[-2:] for row in rows if row[0] == "generate_description"] == [
        ["content", "[template]"]
    ]


def test_a_check_of_our_own_files_faults_none_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    code = run("check")
    out, err = capsys.readouterr()
    # The models are somebody else's list.
    assert all(line.endswith("in models.yml") for line in err.splitlines())
    assert (code, out) == ((1, "") if err else (0, "ok\n"))


def test_faults_name_the_file_and_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = GOOD.replace("{{ word }}", "{{ word")
    assert run("check", "--dir", library(tmp_path, duo_agent_platform=broken)) == 1
    assert "duo_agent_platform/1.0.0.yml: prompt_template.user: " in capsys.readouterr().err
    for words in (("list",), ("render", "duo_agent_platform")):
        assert run(words[0], "--dir", str(tmp_path), *words[1:]) == 1
        assert "duo_agent_platform/1.0.0.yml: " in capsys.readouterr().err
    library(tmp_path, other="name: P\nunit_primitive: 1\n", third="[")
    assert run("check", "--dir", str(tmp_path)) == 1
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith("isthmus prompts: other/1.0.0.yml: ")
    assert first.endswith("$.unit_primitive`")
    assert second.startswith("isthmus prompts: third/1.0.0.yml: ")


def test_scopes_features_and_models_must_be_known() -> None:
    files = {"p/1.1.0.yml": GOOD.replace("duo_chat", "nope") + "serves: {1.0.0: gone}\n"}
    assert list(command.faults(Registry(files), Catalogue({}, {}))) == [
        "p: there is no feature `p` in models.yml",
        "p/1.1.0.yml: unit_primitive: `nope` is not known",
        "p/1.1.0.yml: 1.0.0: there is no model `gone` in models.yml",
        "p/1.1.0.yml: unit_primitive: `nope` is not known",
    ]
    assert list(command.faults(Registry({"p/1.0.0.yml": GOOD}), None)) == []


def test_a_prompt_is_rendered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = GOOD.replace("{user:", "{system: '{{ current_date }}', placeholder: history, user:")
    folder = library(tmp_path, p=text)
    inputs = tmp_path / "in.json"
    inputs.write_text(
        '{"word": "no", "history": [{"role": "assistant", "content": "Hi"}], "current_date": "now"}'
    )
    words = ("render", "p", "--dir", folder, "--inputs", str(inputs), "--input", "word=a=b")
    assert run(*words) == 0
    assert capsys.readouterr().out == "[system]\nnow\n\n[assistant]\nHi\n\n[user]\nSay a=b\n"
    assert run("render", "p", "--dir", folder, "--version", "1.*", "--input", "word=") == 0
    assert ", 2" in capsys.readouterr().out.splitlines()[1]  # the date, when none is given


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("render", "nope"), "Failed to load prompt definition for 'nope'"),
        (("render", "p", "--version", "9.9.9"), "No version matching '9.9.9'"),
        (("render", "p", "--version", "new"), "'new' is not a valid version constraint"),
        (("render", "p"), "Missing variables: 'word'"),
        (("render", "p", "--input", "word"), "--input: 'word' is not NAME=TEXT"),
        (("render", "p", "--inputs", "/nowhere/in.json"), "No such file"),
        (("render", "p", "--inputs", __file__), "Expected `object`"),
        (("list", "--dir", "/nowhere"), "--dir: /nowhere: No such file"),
    ],
)
def test_wrong_arguments_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str
) -> None:
    folder = library(tmp_path, p=GOOD)
    assert run(words[0], "--dir", folder, *words[1:]) == 2
    assert reason in capsys.readouterr().err

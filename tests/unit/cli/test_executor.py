"""The executor's arguments: what is refused before anything is called, and what is sent along."""

import argparse
import json
from pathlib import Path

import pytest

from isthmus.cli import executor
from isthmus.settings import Settings, load


def settings_in(directory: Path) -> Settings:
    return load(None, {"data_dir": str(directory)}, {})


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    executor.add(parser.add_subparsers())
    return parser.parse_args(["executor", *words])


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], "--goal"),
        (["--goal", "  "], "--goal"),
        (["--goal", "x", "--workflow-id", "abc"], "--workflow-id"),
        (["--goal", "x", "--workflow-id", "0"], "--workflow-id"),
        (["--goal", "x", "--workflow-id", str(2**53)], "--workflow-id"),
        (["--goal", "x", "--workflow-id", "9" * 5000], "--workflow-id"),
        (["--goal", "x", "--workspace", "/no/such/directory"], "--workspace"),
        (["--goal", "x", "--workspace", "/etc/hostname"], "--workspace"),
        (["--goal", "x"], "ISTHMUS_DATA_DIR"),
        (["--goal", "x", "--url", "http://127.0.0.1:1"], "token"),
        (["--goal", "x", "--url", "ftp://127.0.0.1:1"], "grpc://"),
        (["--goal", "x", "--connection-type", "pigeon"], "--connection-type"),
        (["--goal", "x", "--connection-type", "websocket"], "token"),
        (["--goal", "x", "--output-format", "xml"], "--output-format"),
        (["--goal", "x", "--url", "grpc://example.test:1"], "grpcs://"),
        (["--goal", "x", "--url", "grpcs://example.test:1"], "--token"),
        (["--goal", "x", "--token", "two words"], "--token"),
        (["--goal", "x", "--flow", "/no/such/file.yml"], "--flow"),
        (["--goal", "x", "--flow", "/dev/zero"], "larger than"),
    ],
)
def test_a_bad_argument_is_named_and_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], names: str
) -> None:
    args = arguments(*words)
    assert args.run(args, settings_in(tmp_path)) == 2
    assert names in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "nothing is made where nothing is done"


def test_an_unknown_mode_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        arguments("--goal", "x", "--approve", "some")
    assert caught.value.code == 2
    assert "--approve" in capsys.readouterr().err


def test_a_job_is_told_of_bad_options_in_its_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--headless", "--output-format", "json", "--workflow-id", "x", "--goal", "x"]
    args = arguments(*words)
    assert args.run(args, settings_in(tmp_path)) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["exitCode"]) == ("error", 2)
    assert "--workflow-id" in told["error"]

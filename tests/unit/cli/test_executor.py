"""The executor's arguments: what is refused before anything is called, and what is sent along."""

import argparse
import json
from pathlib import Path

import pytest

from isthmus.cli import executor
from isthmus.settings import Settings, load
from tests.support.tokens import b64


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
        (["--goal", "x", "--url", "http://127.0.0.1:1"], "grpc://"),
        (["--goal", "x", "--url", "grpc://example.test:1"], "grpcs://"),
        (["--goal", "x", "--url", "grpcs://example.test:1"], "--token"),
        (["--goal", "x", "--token", "two words"], "--token"),
    ],
)
def test_a_bad_argument_is_named_and_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], names: str
) -> None:
    args = arguments(*words)
    assert args.run(args, settings_in(tmp_path)) == 2
    assert names in capsys.readouterr().err


def test_an_unknown_mode_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        arguments("--goal", "x", "--approve", "some")
    assert caught.value.code == 2
    assert "--approve" in capsys.readouterr().err


def test_the_headers_repeat_what_the_token_claims() -> None:
    claims = {"sub": "me", "gitlab_realm": "saas", "exp": 1, "x": "a\nb"}
    token = f"h.{b64(json.dumps(claims).encode())}.s"
    assert executor.claimed(token) == {"sub": "me", "gitlab_realm": "saas"}


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.%%.c", "a.W10.c", f"a.{b64(b'[' * 9000)}.c"])
def test_a_token_that_is_none_claims_nothing(token: str) -> None:
    assert executor.claimed(token) == {}

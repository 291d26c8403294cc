"""`isthmus token`: what it prints, and what it refuses."""

import argparse
import stat
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr

from isthmus.adapters.keysets.keyfile import load_or_create
from isthmus.auth.issue import SigningKey
from isthmus.auth.verify import claims_of, parse, signed_by
from isthmus.cli import token as command
from isthmus.settings import AuthSettings, Settings
from tests.support.tokens import pem_of, private_key, public_of


def settings(folder: Path, **auth: str) -> Settings:
    secrets = {name: SecretStr(value) for name, value in auth.items()}
    return Settings(data_dir=folder / "var", auth=AuthSettings.model_validate(secrets))


def run(made: Settings, *words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    args = parser.parse_args(["token", *words])
    code: int = args.run(args, made)
    return code


def test_only_the_token_is_printed_and_both_listeners_accept_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = settings(tmp_path)
    words = ("--subject", "me", "--scope", "complete_code", "duo_chat", "--scope", "duo_chat")
    assert run(made, *words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.endswith("\n")
    parsed = parse(out.strip())
    path = tmp_path / "var" / "signing_key.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signed_by(parsed, [load_or_create(path).public("k")])
    for service in ("gitlab-ai-gateway", "gitlab-duo-workflow-service"):
        claims = claims_of(parsed, service, time.time())
        assert (claims.subject, claims.issuer) == ("me", "isthmus")
        assert claims.scopes == {"complete_code", "duo_chat"}
        assert abs(claims.expires_s - time.time() - 3600) < 10


def test_the_configured_key_signs_unless_the_platform_has_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pem = pem_of(private_key())
    assert run(settings(tmp_path, signing_key=pem), "--subject", "me", "--scope", "duo_chat") == 0
    assert signed_by(parse(capsys.readouterr().out.strip()), [public_of(private_key())])
    assert not (tmp_path / "var").exists()
    both = settings(tmp_path, signing_key=pem, platform_signing_key=pem_of(private_key("p")))
    assert run(both, "--subject", "me", "--scope", "duo_chat") == 0
    local = load_or_create(tmp_path / "var" / "signing_key.pem")
    assert isinstance(local, SigningKey)
    assert signed_by(parse(capsys.readouterr().out.strip()), [local.public("k")])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--subject", "me", "--scope", "complete_cod"), "did you mean complete_code"),
        (("--subject", "me", "--scope", "duo_chat", "zzzzzz"), "'zzzzzz' is not known"),
        (("--subject", "", "--scope", "duo_chat"), "--subject"),
        (("--subject", "a\nb", "--scope", "duo_chat"), "--subject"),
        (("--subject", "é", "--scope", "duo_chat"), "--subject"),
        (("--subject", "x" * 257, "--scope", "duo_chat"), "--subject"),
        (("--subject", "me", "--scope", "duo_chat", "--ttl", "59"), "--ttl"),
        (("--subject", "me", "--scope", "duo_chat", "--ttl", "2592001"), "--ttl"),
        (("--subject", "me", "--scope", "duo_chat", "--ttl", "-1"), "--ttl"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: Sequence[str], reason: str
) -> None:
    assert run(settings(tmp_path), *words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert reason in err
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize("ttl_s", [60, 2_592_000])
def test_the_lifetime_may_be_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ttl_s: int
) -> None:
    made = settings(tmp_path)
    assert run(made, "--subject", "me", "--scope", "duo_chat", "--ttl", str(ttl_s)) == 0
    claims = claims_of(parse(capsys.readouterr().out.strip()), "gitlab-ai-gateway", time.time())
    assert abs(claims.expires_s - time.time() - ttl_s) < 10


def test_a_bad_key_is_named_and_not_quoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = settings(tmp_path, signing_key="secret rubbish")
    assert run(made, "--subject", "me", "--scope", "duo_chat") == 2
    err = capsys.readouterr().err
    assert "auth.signing_key" in err
    assert "secret" not in err


def test_a_key_file_that_others_may_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "var" / "signing_key.pem"
    path.parent.mkdir()
    path.write_text(pem_of(private_key()))
    path.chmod(0o644)
    assert run(settings(tmp_path), "--subject", "me", "--scope", "duo_chat") == 2
    assert str(path) in capsys.readouterr().err

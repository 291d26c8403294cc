"""Secrets out of files, and the operators' switches for the listeners."""

import os
from pathlib import Path

import pytest

from isthmus.settings import SettingsError, Source, read
from isthmus.settings_secrets import LIMIT_BYTES

OWN = "ISTHMUS_AUTH__SIGNING_KEY"
THEIRS = "DUO_WORKFLOW_SELF_SIGNED_JWT__SIGNING_KEY"


def kept(folder: Path, content: bytes) -> str:
    path = folder / "secret"
    path.write_bytes(content)
    return str(path)


def fault(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        read(environ=environ)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"one\ntwo", b"one\ntwo\n", b"one\ntwo\r\n"])
def test_the_end_of_the_last_line_is_none_of_the_secret(content: bytes, tmp_path: Path) -> None:
    path = kept(tmp_path, content)
    settings, sources = read(environ={f"{THEIRS}_FILE": path})
    assert settings.auth.platform_signing_key.get_secret_value() == "one\ntwo"
    assert sources == {"auth.platform_signing_key": f"file of variable {THEIRS}_FILE"}


@pytest.mark.parametrize(
    "variable",
    ["ISTHMUS_DATABASE__URL", "ISTHMUS_LIMITS__URL", "ANTHROPIC_API_KEY", "HTTPS_PROXY"],
)
def test_any_secret_may_stand_in_a_file(variable: str, tmp_path: Path) -> None:
    _, sources = read(environ={f"{variable}_FILE": kept(tmp_path, b"redis://h/0\n")})
    (source,) = sources.values()
    assert source == f"file of variable {variable}_FILE"


def test_a_map_of_secrets_may_stand_in_a_file(tmp_path: Path) -> None:
    path = kept(tmp_path, b'{"authorization": "Bearer x"}\n')
    settings, _ = read(environ={"ISTHMUS_TRACING__HEADERS_FILE": path})
    assert settings.tracing.headers["authorization"].get_secret_value() == "Bearer x"


def test_what_is_no_secret_stands_in_no_file(tmp_path: Path) -> None:
    assert "unknown variable" in fault({"ISTHMUS_HTTP__HOST_FILE": kept(tmp_path, b"::")})


def test_a_setting_that_ends_like_that_is_itself(tmp_path: Path) -> None:
    path = kept(tmp_path, b"token\n")
    settings, _ = read(environ={"ISTHMUS_RUNNERS__KUBERNETES__TOKEN_FILE": path})
    assert settings.runners.kubernetes.token_file == Path(path)
    assert not settings.runners.kubernetes.token.get_secret_value()


def test_our_own_name_wins_over_the_operators(tmp_path: Path) -> None:
    path = kept(tmp_path, b"file")
    settings, _ = read(environ={"AIGW_SELF_SIGNED_JWT__SIGNING_KEY": "theirs", f"{OWN}_FILE": path})
    assert settings.auth.signing_key.get_secret_value() == "file"


def test_both_is_a_fault_that_names_both(tmp_path: Path) -> None:
    said = fault({OWN: "hunter2", f"{OWN}_FILE": kept(tmp_path, b"hunter3")})
    assert f"{OWN}: give it or {OWN}_FILE, not both" in said
    assert "hunter" not in said


def test_an_empty_one_is_none(tmp_path: Path) -> None:
    path = kept(tmp_path, b"file")
    settings, _ = read(environ={OWN: "", f"{OWN}_FILE": path})
    assert settings.auth.signing_key.get_secret_value() == "file"
    settings, _ = read(environ={OWN: "given", f"{OWN}_FILE": ""})
    assert settings.auth.signing_key.get_secret_value() == "given"


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    assert f"{OWN}_FILE: {gone} cannot be read: No such file" in fault({f"{OWN}_FILE": gone})
    assert "Is a directory" in fault({f"{OWN}_FILE": str(tmp_path)})
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in fault({f"{OWN}_FILE": str(tmp_path / "pipe")})
    large = kept(tmp_path, b"x" * (LIMIT_BYTES + 1))
    assert f"{large} is larger than" in fault({f"{OWN}_FILE": large})
    strange = kept(tmp_path, b"hunter\xff")
    said = fault({f"{OWN}_FILE": strange})
    assert f"{strange} is not UTF-8 text (variable {OWN}_FILE)" in said
    assert "hunter" not in said


@pytest.mark.parametrize("secret", ["-----BEGIN KEY-----\nhunter2/\n", "sk-hunter2"])
def test_a_secret_given_where_its_path_belongs_is_not_repeated(secret: str) -> None:
    said = fault({f"{OWN}_FILE": secret})
    assert f"{OWN}_FILE: " in said
    assert "hunter" not in said


def test_a_reload_looks_at_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{THEIRS}_FILE", kept(tmp_path, b"x"))
    monkeypatch.setenv("SSL_CERT_FILE", "/no/secret")
    assert tmp_path / "secret" in Source().files()
    assert Path("/no/secret") not in Source().files()


@pytest.mark.parametrize(
    ("environ", "left"),
    [
        ({}, ("http", "grpc")),
        ({"DISABLE_AI_GATEWAY": "true"}, ("grpc",)),
        ({"DISABLE_AI_GATEWAY": "false"}, ("http", "grpc")),
        ({"ENABLE_DUO_WORKFLOW_SERVICE": "false"}, ("http",)),
        ({"ENABLE_DUO_WORKFLOW_SERVICE": "1"}, ("http", "grpc")),
        ({"ENABLE_DUO_WORKFLOW_SERVICE": ""}, ("http", "grpc")),
        ({"DISABLE_AI_GATEWAY": "YES", "ENABLE_DUO_WORKFLOW_SERVICE": "on"}, ("grpc",)),
        ({"DISABLE_AI_GATEWAY": "true", "ISTHMUS_TRANSPORTS": "http"}, ("http",)),
        (
            {
                "DISABLE_AI_GATEWAY": "true",
                "ENABLE_DUO_WORKFLOW_SERVICE": "false",
                "ISTHMUS_TRANSPORTS": "http,grpc",
            },
            ("http", "grpc"),
        ),
    ],
)
def test_switches(environ: dict[str, str], left: tuple[str, ...]) -> None:
    assert read(environ=environ)[0].transports == left


def test_a_flag_wins_over_switches() -> None:
    settings, sources = read(None, {"transports": "http"}, {"DISABLE_AI_GATEWAY": "true"})
    assert settings.transports == ("http",)
    assert sources["transports"] == "flag --transports"


def test_switches_that_leave_nothing_are_a_fault() -> None:
    said = fault({"DISABLE_AI_GATEWAY": "true", "ENABLE_DUO_WORKFLOW_SERVICE": "false"})
    assert "transports: " in said
    assert "variable DISABLE_AI_GATEWAY, variable ENABLE_DUO_WORKFLOW_SERVICE" in said


def test_a_switch_is_on_or_off() -> None:
    assert "DISABLE_AI_GATEWAY: must be a boolean" in fault({"DISABLE_AI_GATEWAY": "maybe"})

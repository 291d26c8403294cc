"""`isthmus keys`: what is written, for whom, and that tokens outlive a rotation."""

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from isthmus.adapters.keysets.keyfile import (
    FIRST_NAME,
    FORMER_NAME,
    UnsafeKeyFile,
    load_former,
    load_or_create,
    rotate,
)
from isthmus.auth.issue import new_private_key_pem, verification_key
from isthmus.cli.main import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISTHMUS_DATA_DIR", str(tmp_path / "var"))
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_written_for_its_owner_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "generate", "--out", "new.pem", "--bits", "3072"]) == 0
    key = load_pem_private_key((folder / "new.pem").read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    assert key.key_size == 3072
    assert mode(folder / "new.pem") == 0o600
    assert "PRIVATE" not in capsys.readouterr().out


def test_a_file_that_is_there_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "new.pem").write_text("mine", encoding="ascii")
    assert main(["keys", "generate", "--out", "new.pem"]) == 2
    assert (folder / "new.pem").read_text(encoding="ascii") == "mine"
    assert "not replaced" in capsys.readouterr().err


def test_without_a_file_the_key_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "generate"]) == 0
    printed = capsys.readouterr().out
    assert load_pem_private_key(printed.encode(), None)


def test_rotation_keeps_the_former_key_accepted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder / "var"
    first = load_or_create(data / "signing_key.pem")
    assert main(["keys", "rotate"]) == 0
    assert "PRIVATE" not in capsys.readouterr().out
    former = load_former(data)
    assert former is not None
    assert former.n == first.public("").n
    assert b"PRIVATE" not in (data / FORMER_NAME).read_bytes()
    assert load_or_create(data / "signing_key.pem").public("").n != former.n
    assert {mode(data / name) for name in ("signing_key.pem", FORMER_NAME)} == {0o600}
    assert main(["keys", "rotate"]) == 0
    again, root = load_former(data), load_former(data, FIRST_NAME)
    assert again is not None
    assert root is not None
    assert again.n != former.n
    assert root.n == first.public("").n


def test_there_is_nothing_to_rotate_before_the_first_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["keys", "rotate"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_former_key_that_cannot_be_read_is_named(folder: Path) -> None:
    load_or_create(folder / "signing_key.pem")
    rotate(folder)
    (folder / FORMER_NAME).write_text("spoilt", encoding="ascii")
    with pytest.raises(UnsafeKeyFile, match=FORMER_NAME):
        load_former(folder)


def test_keys_that_are_set_from_outside_are_written_beside(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pem = new_private_key_pem().decode()
    monkeypatch.setenv("AIGW_SELF_SIGNED_JWT__SIGNING_KEY", pem)
    assert main(["keys", "rotate"]) == 0
    told = capsys.readouterr().out
    former = (folder / "signing_key.former.pem").read_bytes()
    fresh = (folder / "signing_key.new.pem").read_bytes()
    assert verification_key(former, "").n == verification_key(pem, "").n
    assert b"PRIVATE" not in former
    assert verification_key(fresh, "").n != verification_key(pem, "").n
    assert "variable AIGW_SELF_SIGNED_JWT__SIGNING_KEY" in told
    assert "auth.validation_key" in told
    assert "BEGIN" not in told
    assert not (folder / "var").exists()


def test_what_is_shown_is_public(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load_or_create(folder / "var" / "signing_key.pem")
    rotate(folder / "var")
    monkeypatch.setenv("AIGW_SELF_SIGNED_JWT__VALIDATION_KEY", new_private_key_pem().decode())
    assert main(["keys", "show", "--json"]) == 0
    keys = json.loads(capsys.readouterr().out)["keys"]
    assert [one["jwk"]["kid"] for one in keys] == [
        "gitlab-ai-gateway_validation_key",
        "isthmus_local_key",
        "isthmus_former_key",
    ]
    assert [one["signs"] for one in keys] == [False, True, False]
    assert all({*one["jwk"]} == {"kty", "use", "alg", "kid", "n", "e"} for one in keys)
    assert main(["keys", "show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["accepted", "signs", "accepted"]
    assert all("SHA256:" in line for line in lines)


def test_a_key_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIGW_SELF_SIGNED_JWT__SIGNING_KEY", "no key")
    assert main(["keys", "rotate"]) == 2
    assert "auth.signing_key" in capsys.readouterr().err

"""The kept key file: made once, private, and never half written."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from isthmus.adapters.keysets.keyfile import UnsafeKeyFile, load_or_create
from tests.support.tokens import pem_of, private_key


def test_a_key_is_made_once_with_mode_0600(tmp_path: Path) -> None:
    path = tmp_path / "var" / "signing_key.pem"
    first = load_or_create(path).public("k")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert load_or_create(path).public("k") == first
    assert [entry.name for entry in path.parent.iterdir()] == ["signing_key.pem"]


def test_several_at_once_end_with_one_key(tmp_path: Path) -> None:
    path = tmp_path / "signing_key.pem"
    with ThreadPoolExecutor(4) as pool:
        made = [key.public("k") for key in pool.map(load_or_create, [path] * 4)]
    assert len(set(made)) == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o660])
def test_a_file_that_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "signing_key.pem"
    path.write_text(pem_of(private_key()))
    path.chmod(mode)
    with pytest.raises(UnsafeKeyFile) as caught:
        load_or_create(path)
    assert str(path) in str(caught.value)
    assert "chmod 600" in str(caught.value)


@pytest.mark.parametrize("text", ["", "secret rubbish", "x" * 100_000])
def test_a_file_without_a_key_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "signing_key.pem"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UnsafeKeyFile) as caught:
        load_or_create(path)
    assert str(path) in str(caught.value)
    assert "secret" not in str(caught.value)
    assert path.read_text() == text


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(UnsafeKeyFile):
        load_or_create(pipe)
    with pytest.raises((UnsafeKeyFile, OSError)):
        load_or_create(tmp_path)

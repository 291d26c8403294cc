"""The library's JSON: the same values, kept, and believed for the very same texts only."""

import stat
from pathlib import Path

import msgspec
import pytest

from isthmus.app.library import FILE_NAME, LIBRARY, read_library
from isthmus.prompts.registry import Registry


def test_json_stands_for_every_file_and_says_the_same(tmp_path: Path) -> None:
    texts = read_library(tmp_path)
    yaml = [path for path in texts if path.endswith(".yml")]
    assert {"models.yml", "languages.yml"} < set(yaml)
    for path in yaml:
        value: object = msgspec.yaml.decode((LIBRARY / path).read_bytes())
        assert msgspec.json.decode(texts[path]) == msgspec.to_builtins(value), path
    prompts = Registry.below(texts, "prompts/")
    assert prompts.ids() == Registry.load(LIBRARY / "prompts").ids()


def test_the_second_start_reads_what_the_first_one_kept(tmp_path: Path) -> None:
    first = read_library(tmp_path / "new")
    kept = tmp_path / "new" / FILE_NAME
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [entry.name for entry in kept.parent.iterdir()] == [FILE_NAME]
    digest, told = msgspec.json.decode(kept.read_bytes(), type=tuple[str, dict[str, str]])
    marked = told | {"models.yml": "{}"}
    kept.write_bytes(msgspec.json.encode((digest, marked)))
    assert read_library(tmp_path / "new")["models.yml"] == "{}"
    kept.write_bytes(msgspec.json.encode(("of other texts", marked)))
    assert read_library(tmp_path / "new") == first
    assert msgspec.json.decode(kept.read_bytes()) == [digest, told]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"[1, {}]"])
def test_what_cannot_be_read_is_made_anew(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(data)
    assert read_library(tmp_path)["models.yml"].startswith("{")
    assert len((tmp_path / FILE_NAME).read_bytes()) > 1_000


def test_nothing_is_amiss_where_nothing_can_be_kept(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    assert read_library(taken)["models.yml"].startswith("{")
    assert taken.read_text() == "a file"

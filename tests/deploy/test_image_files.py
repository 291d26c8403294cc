"""What the image holds, what it says of itself, and that it can be made again."""

import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.bundle import tree
from deploy.bundle.image import ROOT, SCRIPTS, assemble
from tests.support.container import config, image

HADOLINT = Path(sys.executable).with_name("hadolint")
COMPILERS = {"cc", "gcc", "g++", "c++", "clang", "ld", "as", "make", "pip", "pip3", "apt", "dpkg"}


def test_the_dockerfile_is_clean() -> None:
    words = [str(HADOLINT), "--format", "tty", str(SCRIPTS / "Dockerfile")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_dockerfile_names_ports_user_volume_and_check() -> None:
    about = config()
    assert set(about["ExposedPorts"]) == {"5052/tcp", "50052/tcp", "8082/tcp", "8083/tcp"}
    assert set(about["Volumes"]) == {"/var/lib/isthmus"} == {about["WorkingDir"]}
    assert not about["User"].startswith(("0", "root"))
    assert about["User"].endswith(":0"), "the group of a user that the cluster made up"
    assert about["Healthcheck"]["Test"] == ["CMD", "isthmus", "health"]
    assert about["Labels"]["org.opencontainers.image.version"] == "test"


def test_what_was_made_can_be_loaded() -> None:
    made = image()
    with tarfile.open(made.archive) as tar:
        (entry,) = _json(tar, "index.json")["manifests"]
        manifest = _json(tar, _blob(entry["digest"]))
        about = _json(tar, _blob(manifest["config"]["digest"]))
        (layer,) = manifest["layers"]
        (old,) = _json(tar, "manifest.json")
        for blob in (entry, manifest["config"]):
            content = _bytes(tar, _blob(blob["digest"]))
            assert len(content) == blob["size"]
            assert f"sha256:{hashlib.sha256(content).hexdigest()}" == blob["digest"]
    assert layer["digest"] == f"sha256:{tree.sha256(made.layer)}"
    assert layer["size"] == made.layer.stat().st_size
    assert old["RepoTags"] == [f"isthmus:{made.version}"]
    assert old["Layers"] == [_blob(layer["digest"])]
    unpacked = hashlib.sha256(gzip.decompress(made.layer.read_bytes())).hexdigest()
    assert about["rootfs"]["diff_ids"] == [f"sha256:{unpacked}"]
    assert about["config"]["Entrypoint"] == config()["Entrypoint"]


def test_it_holds_what_a_server_needs_and_nothing_to_build_with() -> None:
    made = image()
    lines = made.files.read_text(encoding="utf-8").splitlines()
    paths = [line.rsplit(" ", 1)[1] for line in lines]
    assert "usr/local/lib/python3.11/dist-packages/isthmus/serve.py" in paths
    assert "usr/share/doc/libc6/copyright" in paths
    programs = [
        path for path in paths if path.startswith(("usr/bin/", "usr/sbin/", "usr/local/bin"))
    ]
    assert {"usr/bin/python3.11", "usr/local/bin/isthmus", "usr/local/bin/start"} <= set(programs)
    assert not [path for path in programs if path.rpartition("/")[2] in COMPILERS]
    held = {
        path.split("/")[5] for path in paths if path.count("/") > 4 and "/dist-packages/" in path
    }
    assert {"grpc", "langgraph", "asyncpg", "valkey", "tree_sitter"} <= held
    assert not held & {"pytest", "hatchling", "pip", "setuptools", "ruff"}
    for folder in ("var/cache/", "var/lib/apt/", "var/log/", "usr/share/man/", "root/"):
        assert not [path for path in paths if path.startswith(folder)], folder
    # Owners: root's, but for the volume, in which the image's user keeps its data.
    owned = {line.split()[1] for line in lines if not line.endswith(" var/lib/isthmus")}
    assert owned <= {"0:0", "0:42", "0:50", "0:43", "0:8"}
    assert not [line for line in lines if line[0] in "4267" and "directory" not in line]


def test_nothing_in_it_knows_where_it_was_made() -> None:
    site = image().rootfs / "usr"
    here = [str(ROOT).encode(), sys.prefix.encode()]
    told = [
        str(path.relative_to(site))
        for path in site.rglob("*")
        if path.is_file()
        and path.suffix in {".pyc", ".py", ""}
        and any(name in path.read_bytes() for name in here)
    ]
    assert not told


def test_the_sbom_is_valid_and_names_every_part() -> None:
    text = image().sbom.read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    named = {(part["name"].lower(), part["version"]) for part in document["components"]}
    wheels = [path.name.split("-")[:2] for path in image().wheels.glob("*.whl")]
    for name, version in wheels:
        spellings = {name.lower().replace("_", mark) for mark in "_-."}
        assert {(spelling, version) for spelling in spellings} & named, name
    assert {"libc6", "libssl3", "python3.11-minimal"} <= {name for name, _ in named}
    assert all(part.get("licenses") for part in document["components"] if "pypi" in part["purl"])


def test_the_same_parts_make_the_same_files(tmp_path: Path) -> None:
    made = image()
    again = tmp_path / "rootfs"
    assemble(made.wheels, again)
    assert tree.listing(again) == made.files.read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [(), ("--transports", "http"), ("server",), ("token", "-h")])
def test_the_entry_runs_the_server_or_another_command(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    shown = tmp_path / "isthmus"
    shown.write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    shown.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        [str(SCRIPTS / "start"), *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = words if words and not words[0].startswith("-") else ("server", *words)
    assert done.stdout.split() == list(expected)


def _json(tar: tarfile.TarFile, name: str) -> Any:
    return json.loads(_bytes(tar, name))


def _bytes(tar: tarfile.TarFile, name: str) -> bytes:
    stream = tar.extractfile(name)
    assert stream is not None
    return stream.read()


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(chr(58), chr(47))}"

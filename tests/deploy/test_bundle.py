"""The bundle installs and works where there is no network, and it is what its sums say."""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

from deploy.bundle.image import ROOT
from tests.support.bundled import archive, unpacked
from tests.support.sealed import sealed

SUITES = ("tests/e2e/test_first_minute.py", "tests/e2e/test_tour.py", "tests/e2e/test_sdks.py")
CHOSEN = "banner or tour_reads or private_and_kept or sdk or metrics"
INSTALL_S = 300
SUITE_S = 600


def test_it_installs_and_passes_the_journeys_with_loopback_alone(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    top = unpacked(tmp_path / "bundle")
    place = tmp_path / "place"
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    words = [str(top / "install.sh"), "--python", sys.executable, str(place)]
    done = sealed(words, tmp_path, bare, INSTALL_S)
    assert done.code == 0, done.out
    assert done.left == (0, 0)
    assert min(done.seen) > 0, "the counters count"
    program = place / "bin" / "isthmus"
    where = "import isthmus; print(isthmus.__file__)"
    asked = [str(place / "bin" / "python"), "-c", where]
    found = subprocess.run(asked, env=bare, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(place))
    # Each test of a suite starts the program that was installed.
    environment = os.environ | {"TESTED_PROGRAM": str(program), "PYTEST_ADDOPTS": ""}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    paths = [str(ROOT / suite) for suite in SUITES]
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", CHOSEN, *paths]
    done = sealed(
        [*words, f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml")],
        ROOT,
        environment,
        SUITE_S,
    )
    assert done.code == 0, done.out
    assert re.search(r"[1-9]\d* passed", done.out), done.out
    assert done.left == (0, 0), done.out
    assert min(done.seen) > 0, "the counters count"


def test_a_bundle_that_was_changed_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    top = unpacked(tmp_path / "bundle")
    (top / "CHANGELOG.md").write_text("changed", "utf-8")
    words = [str(top / "install.sh"), "--python", sys.executable, str(tmp_path / "place")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "CHANGELOG.md" in done.stdout + done.stderr
    assert not (tmp_path / "place").exists()


def test_it_holds_every_part_and_sums_them() -> None:
    with tarfile.open(archive()) as tar:
        members = tar.getmembers()
        names = {member.name.partition("/")[2] for member in members}
        sums = tar.extractfile(f"{members[0].name.partition('/')[0]}/SHA256SUMS")
        assert sums is not None
        lines = [line.split("  ") for line in sums.read().decode().splitlines()]
        told = {name: digest for digest, name in lines}
        assert names == {*told, "SHA256SUMS"}
        for member in members:
            name = member.name.partition("/")[2]
            content = tar.extractfile(member)
            assert content is not None
            if name in told:
                assert hashlib.sha256(content.read()).hexdigest() == told[name]
        assert {member.mtime for member in members} == {members[0].mtime}
        assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "")}
    for start in ("wheels/isthmus-", "image/isthmus-", "monitoring/", "compose/"):
        assert [name for name in names if name.startswith(start)], start
    for folder, name in (("helm", "chart"), ("systemd", "systemd")):
        shipped = any((ROOT / "deploy" / folder).rglob("*"))
        assert shipped == any(each.startswith(f"{name}/") for each in names)
    assert {"install.sh", "README.md", "requirements.lock"} <= names


def test_nothing_in_it_says_where_to_download() -> None:
    with tarfile.open(archive()) as tar:
        for member in tar.getmembers():
            if member.name.endswith((".sh", ".lock", "PYTHONS")):
                content = tar.extractfile(member)
                assert content is not None
                assert b"://" not in content.read(), member.name

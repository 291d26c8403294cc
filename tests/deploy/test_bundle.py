"""The bundle installs and works where there is no network, and it is what its sums say."""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

from deploy.bundle.image import ROOT
from isthmus.settings import load as load_settings
from tests.support.bundled import archive, unpacked
from tests.support.certificates import write_pair
from tests.support.container import DATA, config, image
from tests.support.sealed import sealed

PAGE = ROOT / "docs" / "guide" / "offline.md"
SUITES = ("tests/e2e/test_first_minute.py", "tests/e2e/test_tour.py", "tests/e2e/test_sdks.py")
CHOSEN = "banner or tour_reads or private_and_kept or sdk or metrics"
INSTALL_S = 300
SUITE_S = 600


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_it_installs_and_passes_the_journeys_with_loopback_alone(tmp_path: Path) -> None:
    place = tmp_path / "place"
    with_python = tmp_path / "bin"
    with_python.mkdir()
    (with_python / "python3").symlink_to(sys.executable)
    (tmp_path / archive().name).symlink_to(archive())
    bare = {"PATH": f"{with_python}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    # As the guide says, but for the place.
    _, install, _ = blocks("sh")
    words = ["bash", "-euxc", install.replace("/opt/isthmus", str(place))]
    done = sealed(words, tmp_path, bare, INSTALL_S)
    assert done.code == 0, done.out
    assert done.out.endswith("ok\n")
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
    assert {"install.sh", "README.md", "requirements.lock", "docs/index.html"} <= names


def test_nothing_in_it_says_where_to_download() -> None:
    with tarfile.open(archive()) as tar:
        for member in tar.getmembers():
            if member.name.endswith((".sh", ".lock", "PYTHONS")):
                content = tar.extractfile(member)
                assert content is not None
                assert b"://" not in content.read(), member.name


def test_the_image_is_loaded_and_run_as_the_guide_says(tmp_path: Path) -> None:
    """There is no engine here: what it is told is compared with what the image is."""
    (tmp_path / "bundle").mkdir()
    top = unpacked(tmp_path / "bundle")
    engine = tmp_path / "docker"
    engine.write_text('#!/bin/sh\nprintf "%s\\n" "$@" --- >>"$ASKED"\n', "utf-8")
    engine.chmod(0o755)
    (top.parent / "duo_workflow_jwt.key").write_text("the key", "utf-8")
    asked = tmp_path / "asked"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ASKED": str(asked)}
    subprocess.run(["bash", "-euc", blocks("sh")[2]], cwd=top.parent, env=environment, check=True)
    load, run = (part.split("\n") for part in asked.read_text("utf-8").split("\n---\n")[:2])
    assert load[:2] == ["load", "--input"]
    assert (top.parent / load[2]).is_file()
    assert run[-1] == f"isthmus:{image().version}"
    ports = {value.partition(":")[2] + "/tcp" for value in _values(run, "-p")}
    assert ports <= set(config()["ExposedPorts"])
    assert {value.partition(":")[2] for value in _values(run, "--volume")} == {DATA}
    given = dict(value.split("=", 1) for value in _values(run, "-e"))
    assert given["DUO_WORKFLOW_SELF_SIGNED_JWT__SIGNING_KEY"] == "the key"
    assert load_settings(environ=given).auth.gitlab_url == "https://gitlab.example.com"


def test_the_settings_of_the_guide_can_be_read(tmp_path: Path) -> None:
    (example,) = blocks("yaml")
    authority = write_pair(tmp_path, 1).cert_file
    written = example.replace("/etc/isthmus/ca.pem", str(authority))
    (tmp_path / "offline.yml").write_text(written, "utf-8")
    settings = load_settings(tmp_path / "offline.yml", environ={})
    assert settings.auth.customer_portal_url == ""
    assert settings.outbound.ca_file == authority


def test_make_knows_what_the_guide_asks_of_it() -> None:
    first = blocks("sh")[0]
    for line in [*first.splitlines(), "make bundle-test", "make image", "make sbom"]:
        words = [*line.split(), "--dry-run", "--question", "DEPLOY="]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert "No rule" not in done.stderr, done.stderr


def _values(words: list[str], option: str) -> list[str]:
    return [words[index + 1] for index, word in enumerate(words) if word == option]

"""The image's file system runs as a container would: any user, nothing to write on, both listeners.

What is run is what the Dockerfile names, built by the scripts that the Dockerfile runs.
"""

import json
import subprocess
from pathlib import Path

from tests.support.container import Container, image, running

MEMORY_BYTES = 200 * 1000 * 1000
PACKED_BYTES = 150 * 1000 * 1000
STRANGER = "12345:0"
COMPLETION = {
    "prompt_version": 1,
    "current_file": {
        "file_name": "a.py",
        "content_above_cursor": "def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    ret",
        "content_below_cursor": "\n",
    },
}
# Which libraries a part needs depends on the version of Python: some are for older ones alone.
EVERYTHING = """
import importlib, pkgutil, isthmus
for module in pkgutil.walk_packages(isthmus.__path__, "isthmus."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def test_a_stranger_serves_both_with_nothing_to_write_on(tmp_path: Path) -> None:
    with running(tmp_path, user=STRANGER) as container:
        container.wait_for("http://127.0.0.1:5052/monitoring/ready")
        container.wait_for_text("Sessions are ready")
        _completion(container)
        _session(container)
        container.wait_for("http://127.0.0.1:8082/metrics")
        container.wait_for("http://127.0.0.1:8083/metrics")
        assert container.memory_bytes() <= MEMORY_BYTES
        assert container.run("isthmus", "health").returncode == 0
        loaded = container.run("python3", "-c", EVERYTHING)
        assert loaded.returncode == 0, loaded.stderr
        for folder in ("/", "/etc", "/var/tmp", "/run", "/dev"):  # noqa: S108 - not ours
            assert container.run("touch", f"{folder}/a").returncode != 0, folder
        assert container.run("ls", "/tmp").returncode != 0  # noqa: S108 - not there
        assert container.stop() == 0
        assert "Traceback" not in container.out


def test_what_can_be_written_is_not_written(tmp_path: Path) -> None:
    with running(tmp_path, user="0:0", options=("tmp", "writable")) as container:
        container.wait_for_text("Sessions are ready")
        _completion(container)
        _session(container)
        assert container.stop() == 0
    assert not container.written
    assert sorted(path.name for path in container.data.glob("*.pem")) == ["signing_key.pem"]


def test_it_is_as_small_as_it_is_said_to_be() -> None:
    assert image().layer.stat().st_size <= PACKED_BYTES


def _completion(container: Container) -> None:
    token = container.run("isthmus", "token", "--subject", "dev", "--scope", "complete_code")
    assert token.returncode == 0, token.stderr
    done = _post(container, token.stdout.strip())
    assert json.loads(done.stdout)["choices"][0]["text"].strip(), done.stdout


def _post(container: Container, token: str) -> "subprocess.CompletedProcess[str]":
    given = {
        "authorization": f"Bearer {token}",
        "x-gitlab-authentication-type": "oidc",
        "x-gitlab-instance-id": "dev",
        "content-type": "application/json",
    }
    headers = [part for name, value in given.items() for part in ("-H", f"{name}: {value}")]
    url = "http://127.0.0.1:5052/v2/code/completions"
    done = container.at_its_ports("curl", "-s", url, *headers, "-d", json.dumps(COMPLETION))
    assert done.returncode == 0, done.stderr
    return done


def _session(container: Container) -> None:
    workspace = container.data / "workspace"
    workspace.mkdir()
    (workspace / "README.md").write_text("# Demo\n", encoding="utf-8")
    workspace.chmod(0o777)
    words = ("--goal", "Look around", "--workspace", "workspace", "--approve", "all")
    done = container.run("isthmus", "executor", *words, limit_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (workspace / "isthmus-tour.md").is_file(), done.stdout

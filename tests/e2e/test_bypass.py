"""A server with its doors open says so: in the log at its start, and to whoever asks."""

import json
import urllib.request
from pathlib import Path

from isthmus.app.reminder import WARNING
from tests.support.process import running_server

OPEN = {"AIGW_AUTH__BYPASS_EXTERNAL": "true", "DUO_WORKFLOW_AUTH__ENABLED": "false"}
NAMES = ["auth.enabled", "auth.bypass_external"]


def test_open_doors_are_told_of(tmp_path: Path) -> None:
    with running_server(tmp_path, OPEN) as server:
        with urllib.request.urlopen(f"{server.url}/monitoring/ready", timeout=30) as reply:  # noqa: S310
            told = json.load(reply)
        assert (reply.status, told) == (200, {"serving": True, "bypasses": NAMES})
        server.stop()
    lines = [json.loads(line) for line in server.log.splitlines() if WARNING in line]
    assert [line["level"].lower() for line in lines] == ["warning"]
    assert set(NAMES) <= set(lines[0])

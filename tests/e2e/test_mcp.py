"""A tool of an MCP server of our own, in a session of a real server with a real executor."""

import json
import sys
import time
from pathlib import Path

from tests.e2e.test_headless import grpc_job, start
from tests.support.guide import ROOT
from tests.support.process import running_server

SAMPLE = ROOT / "tests" / "contract" / "executor" / "mcp_sample.py"
SCRIPT = """
turns:
  - tools: [{name: demo_shout, arguments: {text: hello}}]
  - text: "Done."
"""


def test_a_session_calls_a_tool_of_a_server_that_the_settings_name(tmp_path: Path) -> None:
    log = _log_of_two_sessions(tmp_path)
    assert "an MCP server is connected" in log
    assert "an MCP server cannot be used" in log
    assert '"tool": "mcp"' in log or '"tool":"mcp"' in log
    assert "s3cret-of-it" not in log


def _log_of_two_sessions(folder: Path) -> str:
    """What one server logs and prints of them, one a while after the other.

    A first connection that fails is made again behind the session, which goes on without: it did
    once, on a busy machine. The next session has the tools, or this fails.
    """
    script, clone = folder / "script.yml", folder / "clone"
    script.write_text(SCRIPT, encoding="utf-8")
    clone.mkdir()
    demo = {
        "command": sys.executable,
        "args": [str(SAMPLE)],
        "env": {"OWN": "s3cret-of-it"},
        "approve": "always",
    }
    settings = {
        "ISTHMUS_MCP__SERVERS": json.dumps({"demo": demo, "none": {"command": "no-such-program"}}),
        "ISTHMUS_PROVIDERS__SCRIPTED__SCRIPT": str(script),
        "ISTHMUS_LOGGING__LEVEL": "DEBUG",
    }
    with running_server(folder, settings) as server:
        server.wait_for_sessions()
        for number, pause_s in (("1", 2.0), ("2", 0.0)):
            job = grpc_job(server, server.grpc, DUO_WORKFLOW_WORKFLOW_ID=number)
            run = start(job, clone, "--output-format", "json")
            out, err = run.communicate(timeout=60)
            assert run.returncode == 0, err
            assert json.loads(out)["result"].endswith("Done.")
            time.sleep(pause_s)
        # What is killed does not write its log to the end.
        assert server.stop() == 0
        return server.log + server.out

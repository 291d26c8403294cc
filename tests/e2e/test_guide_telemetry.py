"""The example of docs/guide/telemetry.md, as a person would follow it, and a session's trace."""

import re
import subprocess
from pathlib import Path

from tests.support.guide import blocks
from tests.support.otlp import Collected, collecting
from tests.support.process import PROGRAM, running_server


def example(kind: str) -> list[str]:
    """The blocks of the example."""
    return blocks("telemetry", kind, "One complete example")


def tree(collected: Collected, parent_id: str, indent: str = "") -> str:
    """The names of the spans inside of one."""
    return "".join(
        f"{indent}{span.name}\n{tree(collected, span.span_id, indent + '  ')}"
        for span in collected.spans
        if span.parent_id == parent_id
    )


def test_the_scrape_and_the_trace_are_those_that_the_page_shows(tmp_path: Path) -> None:
    (settings,), (script,), (answer,) = example("yaml"), example("sh"), example("http")
    series, spans = example("text")
    with collecting() as collected:
        written = settings.replace("http://127.0.0.1:4318", collected.url)
        (tmp_path / "telemetry.yml").write_text(written, encoding="utf-8")
        with running_server(tmp_path, arguments=("--config", "telemetry.yml")) as server:
            started, _, rest = script.partition("\n")
            assert started == "isthmus server --config telemetry.yml &"
            rest = rest.replace("http://127.0.0.1:5052", server.url)
            rest = rest.replace("127.0.0.1:8082", f"127.0.0.1:{server.metrics}")
            path = f"{Path(PROGRAM).parent}:{server.environment['PATH']}"
            done = subprocess.run(
                ["bash", "-euc", rest],
                env=server.environment | {"PATH": path},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert server.stop() == 0
    name, _, _ = answer.partition(";")
    assert re.search(rf"^{re.escape(name)};dur=\d+\.\d{{3}}\r?$", done.stdout, re.MULTILINE)
    for line in series.splitlines():
        assert line in done.stdout.splitlines()
    # The server has stopped: whatever it still had was sent.
    told = re.search(r"traceparent: 00-(\w{32})-(\w{16})-01", script)
    assert told
    assert tree(collected, told[2]) == spans
    assert {span.trace_id for span in collected.spans} == {told[1]}

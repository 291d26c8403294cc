"""What docs/guide/monitoring.md shows, as a person would follow it."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from isthmus.settings import load
from isthmus.settings_names import OPERATOR_NAMES
from tests.deploy.prometheus import COMMAND, FOLDER, promtool, scraping, soon
from tests.deploy.test_monitoring import rules
from tests.support.process import running_server

ROOT = FOLDER.parents[1]
PAGE = (ROOT / "docs" / "guide" / "monitoring.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def block(kind: str, holding: str) -> str:
    """The only block of this kind that holds a text."""
    (found,) = (one for one in blocks(kind) if holding in one)
    return found


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading, without their marks."""
    table = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [
        line for line in table.splitlines() if line.startswith("| `") or line.startswith("| 8")
    ]
    return [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines]


def bash(script: str, folder: Path = ROOT, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-uo", "pipefail", "-ec", script],
        env={"PATH": os.environ["PATH"], **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_both_targets_are_up_and_their_pages_clean(tmp_path: Path) -> None:
    assert block("sh", "isthmus server &") == f"isthmus server &\n{COMMAND} &\n"
    with running_server(tmp_path) as server, scraping(tmp_path, server) as prometheus:
        server.wait_for_sessions()
        ports = {
            "127.0.0.1:9090": f"127.0.0.1:{prometheus.client.base_url.port}",
            ":8082": f":{server.metrics}",
            ":8083": f":{server.platform_metrics}",
        }

        def real(text: str) -> str:
            for usual, port in ports.items():
                text = text.replace(usual, port)
            return text

        def untimed(text: str) -> list[str]:
            return sorted(re.sub(r" @\[.*", "", line) for line in text.splitlines())

        query, shown = real(block("sh", "query instant")), untimed(real(block("text", "up{")))
        soon(lambda: untimed(bash(query).stdout) == shown)
        assert untimed(bash(query).stdout) == shown
        done = bash(real(block("sh", "check metrics")))
        assert (done.returncode, done.stdout, done.stderr.strip()) == (0, "", "")


def test_another_prometheus_takes_the_jobs(tmp_path: Path) -> None:
    path = tmp_path / "prometheus.yml"
    path.write_text(block("yaml", "scrape_configs:"), encoding="utf-8")
    done = promtool("check", "config", str(path))
    assert done.returncode == 0, done.stdout


def test_the_ports_are_those_of_the_settings() -> None:
    settings = load(environ={})
    known = dict(OPERATOR_NAMES)
    for port, _, ours, theirs in rows("What is scraped"):
        paths = [one.strip(" `") for one in ours.split(",")]
        group = paths[0].partition(".")[0]
        assert getattr(settings, group).metrics_port == int(port)
        assert getattr(settings, group).metrics_host == "127.0.0.1"
        assert [known[one.strip(" `")] for one in theirs.split(",")] == paths
    exported = dict(re.findall(r"(ISTHMUS_\w+)=(\S+)", block("sh", "METRICS_HOST")))
    opened = load(environ=exported)
    assert (opened.http.metrics_host, opened.grpc.metrics_host) == ("0.0.0.0", "0.0.0.0")


def test_the_alerts_are_those_of_the_rules() -> None:
    severities: dict[str, list[str]] = {}
    for rule in rules():
        if "alert" in rule:
            told = severities.setdefault(rule["alert"], [])
            told += [rule["labels"]["severity"]] * (rule["labels"]["severity"] not in told)
    listed = {name: severity.split(", ") for name, severity, _ in rows("Alerts")}
    assert listed == severities


@pytest.mark.parametrize("name", ["requests", "cost"])
def test_the_numbers_to_change_are_where_the_page_says(name: str) -> None:
    text = (FOLDER / "rules" / f"{name}.yml").read_text(encoding="utf-8")
    first = text.partition("    rules:\n")[2]
    assert any(first.startswith(one) for one in blocks("yaml"))


def test_a_change_is_checked_by_the_commands_of_the_page() -> None:
    # One file of tests is enough here: all of them are run beside this.
    script = block("sh", "check config").replace("tests/*.yml", "tests/sessions*.yml")
    done = bash(script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") >= 2


def test_the_rules_become_resources_of_the_operator(tmp_path: Path) -> None:
    script = block("sh", "PrometheusRule").replace("deploy/", f"{ROOT}/deploy/")
    done = bash(script, tmp_path)
    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all((tmp_path / "prometheus-rules.yml").read_text("utf-8")))
    files = {f"isthmus-{path.stem}": path for path in (FOLDER / "rules").glob("*.yml")}
    assert {one["metadata"]["name"] for one in made} == set(files)
    for one in made:
        assert one["kind"] == "PrometheusRule"
        path = files[one["metadata"]["name"]]
        assert one["spec"] == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_settings_for_the_collector_are_ours(tmp_path: Path) -> None:
    path = tmp_path / "isthmus.yml"
    path.write_text(block("yaml", "tracing:"), encoding="utf-8")
    settings = load(path, environ={})
    assert settings.tracing.enabled
    collector = (FOLDER / "collector.yml").read_text(encoding="utf-8")
    assert (
        str(settings.logging.file) in yaml.safe_load(collector)["receivers"]["filelog"]["include"]
    )


def test_files_of_logs_are_put_where_the_page_says(tmp_path: Path) -> None:
    for name in ("logrotate.d", "rsyslog.d"):
        (tmp_path / "etc" / name).mkdir(parents=True)
        done = bash(block("sh", name).replace("/etc/", f"{tmp_path}/etc/"))
        assert done.returncode == 0, done.stderr
        assert any((tmp_path / "etc" / name).iterdir())


def test_errors_are_found_in_the_journal_s_lines(tmp_path: Path) -> None:
    lines = [
        '{"message":"Crashed","logger":"isthmus","level":"error","timestamp":"t"}',
        '{"message":"the level was \\"error\\"","logger":"isthmus","level":"info","timestamp":"t"}',
    ]
    (tmp_path / "journal").write_text("\n".join(lines), encoding="utf-8")
    script = block("sh", "journalctl")
    read = "journalctl -u isthmus -o cat --since -1h"
    assert read in script
    done = bash(script.replace(read, "cat journal"), tmp_path)
    assert done.stdout.splitlines() == lines[:1]

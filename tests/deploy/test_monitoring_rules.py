"""Rules and configuration of Prometheus by its own tool, and whether each alert is tested."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.prometheus import FOLDER, promtool

RULES = sorted((FOLDER / "rules").glob("*.yml"))
TESTS = sorted((FOLDER / "rules" / "tests").glob("*.yml"))
SEVERITIES = {"page", "ticket"}


def alerts(path: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.mark.parametrize("what", [["config", "prometheus.yml"], ["rules", *map(str, RULES)]])
def test_promtool_finds_nothing_to_say(what: list[str]) -> None:
    kind, *files = what
    done = promtool("check", kind, "--lint-fatal", *files)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_rules_pass_their_tests(path: Path) -> None:
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def test_every_file_of_rules_has_its_tests() -> None:
    assert [path.stem + "_test" for path in RULES] == [path.stem for path in TESTS]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_every_alert_is_tested_when_it_is_raised_and_when_it_is_not(path: Path) -> None:
    tested = yaml.safe_load(
        (FOLDER / "rules" / "tests" / f"{path.stem}_test.yml").read_text("utf-8")
    )
    raised: dict[tuple[str, str], bool] = {}
    silent: dict[str, bool] = defaultdict(bool)
    for case in (each for test in tested["tests"] for each in test["alert_rule_test"]):
        silent[case["alertname"]] |= not case["exp_alerts"]
        for alert in case["exp_alerts"]:
            raised[case["alertname"], alert["exp_labels"].get("window", "")] = True
    for alert in alerts(path):
        assert silent[alert["alert"]], alert["alert"]
        assert raised[alert["alert"], alert["labels"].get("window", "")]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_every_alert_says_how_bad_it_is_and_what_to_do(path: Path) -> None:
    for alert in alerts(path):
        assert alert["alert"].startswith("Isthmus")
        assert alert["labels"]["severity"] in SEVERITIES
        assert set(alert["annotations"]) == {"summary", "action"}
        assert all(text.endswith(".") for text in alert["annotations"].values())

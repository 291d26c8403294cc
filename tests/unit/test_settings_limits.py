"""Rules of limits in the settings: what they may say, and how their faults are told."""

from pathlib import Path

import pytest

from isthmus.settings import Settings, SettingsError, load

GOOD = """
limits:
  match: first
  rules:
    - {name: team, counts: tokens, amount: 1000000, window: hour, by: [namespace, model]}
    - {name: all.of-us, counts: cost, amount: 12.5, window: month, mode: shadow}
    - {name: at_once, counts: concurrency, amount: 4, by: user, where: {feature: duo_chat}}
    - {name: calls, amount: 5, window: 90, where: {provider: [anthropic, openai]}}
"""


def read(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "isthmus.yml"
    path.write_text(text)
    return load(path, environ={})


def test_rules_are_read(tmp_path: Path) -> None:
    team, money, slots, calls = read(tmp_path, GOOD).limits.rules
    assert (team.units, team.window_s, team.by) == (1_000_000, 3_600.0, ("namespace", "model"))
    assert (money.units, money.window_s, money.mode) == (12_500_000, 2_592_000.0, "shadow")
    assert (slots.units, slots.by, slots.where) == (4, ("user",), {"feature": ("duo_chat",)})
    assert (calls.counts, calls.window_s) == ("requests", 90.0)


def test_rules_may_stand_in_a_variable() -> None:
    text = '[{"name": "calls", "amount": 5, "window": "minute"}]'
    (rule,) = load(environ={"ISTHMUS_LIMITS__RULES": text}).limits.rules
    assert rule.units == 5


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("{amount: 5, window: minute}", "rule 1: name: "),
        ("{name: a b, amount: 5, window: minute}", "`name` must be"),
        ("{name: x, amount: 0, window: minute}", "rule 1 (x): amount: "),
        ("{name: x, amount: 1.5, window: minute}", "`amount` must be a whole number"),
        ("{name: x, amount: 5}", "`window` is required"),
        ("{name: x, amount: 5, window: fortnight}", "`window` must be second, minute"),
        ("{name: x, amount: 5, window: 0.5}", "`window` must be second, minute"),
        ("{name: x, amount: 5, counts: concurrency, window: minute}", "`window` makes no sense"),
        ("{name: x, amount: 5, window: minute, by: [users]}", "rule 1 (x): by.0: "),
        ("{name: x, amount: 5, window: minute, where: {team: a}}", "rule 1 (x): where.team"),
        ("{name: x, amount: 5, window: minute, mode: dry}", "rule 1 (x): mode: "),
        ("{name: x, amount: 5, window: minute, per: user}", "rule 1 (x): per: "),
        ("5", "rule 1: "),
    ],
)
def test_a_fault_names_the_rule_and_its_key(tmp_path: Path, rule: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, f"limits:\n  rules:\n    - {rule}\n")
    (fault,) = caught.value.faults
    assert fault.startswith("limits.rules: ")
    assert told in fault
    assert "line 2" in fault


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    rule = "{name: twice, amount: 5, window: minute}"
    with pytest.raises(SettingsError, match="twice"):
        read(tmp_path, f"limits:\n  rules:\n    - {rule}\n    - {rule}\n")

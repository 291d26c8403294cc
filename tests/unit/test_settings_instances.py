"""Instances that share the server: what may be said of one, and how a fault is told."""

from pathlib import Path

import pytest

from isthmus.settings import SettingsError, load
from isthmus.settings_instances import ListedInstance, slot, with_instances
from isthmus.settings_limits import LimitsSettings

RULE = {"name": "few", "amount": 3, "window": "hour"}


def read(tmp_path: Path, text: str) -> dict[str, ListedInstance]:
    path = tmp_path / "isthmus.yml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ={}).instances


def test_an_instance_needs_its_address_and_nothing_else(tmp_path: Path) -> None:
    (one,) = read(tmp_path, "instances: {acme: {url: 'https://acme.test/'}}").values()
    assert (one.url, one.iss, one.region) == ("https://acme.test", "https://acme.test", ())
    text = "instances: {a: {url: 'http://a.internal', issuer: 'https://a.test', region: 'eu*'}}"
    (one,) = read(tmp_path, text).values()
    assert (one.iss, one.region) == ("https://a.test", ("eu*",))


def test_a_variable_holds_json() -> None:
    text = '{"acme": {"url": "https://acme.test"}}'
    assert list(load(environ={"ISTHMUS_INSTANCES": text}).instances) == ["acme"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{acme: {}}", "instances: acme.url: is required"),
        ("{acme: {url: ''}}", "instances: acme: `url` must not be empty"),
        ("{acme: {url: 'ftp://a'}}", "instances: acme.url: must be an http(s) URL"),
        ("{acme: {url: 'https://u:p@a'}}", "acme.url: must hold no credentials"),
        ("{acme: {url: 'https://a', region: ['EU']}}", "acme: `region` must name regions"),
        ("{acme: {url: 'https://a', colour: 1}}", "acme.colour: Extra inputs"),
        ("{Acme: {url: 'https://a'}}", "'Acme' must be 1 to 32 of a-z"),
        ("{a: {url: 'https://x'}, b: {url: 'https://x/'}}", "'a' and 'b' have the same issuer"),
        ("{a: {url: 'https://x', limits: [{name: f}]}}", "a.limits.0.amount: is required"),
        (
            "{a: {url: 'https://x', limits: "
            "[{name: f, amount: 1, window: hour, where: {instance: b}}]}}",
            "rule 'f' is for this instance alone already",
        ),
    ],
)
def test_a_fault_names_the_instance_and_the_key(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, f"instances: {text}")
    assert fault in str(caught.value)


def test_its_limits_stand_before_those_of_everybody_and_count_it_alone() -> None:
    one = ListedInstance.model_validate({"url": "https://a", "limits": [RULE]})
    limits = LimitsSettings.model_validate({"rules": [RULE]})
    own, common = with_instances(limits, {"acme": one}).rules
    assert (own.name, own.where) == ("acme.few", {"instance": ("acme",)})
    assert (common.name, common.where) == ("few", {})
    assert with_instances(limits, {}) is limits


def test_a_name_has_always_the_same_part_of_the_numbers() -> None:
    assert (slot(""), slot("acme")) == (0, 4_434)
    assert all(0 < slot(f"instance-{number}") < 2**14 for number in range(1_000))


def twins() -> tuple[str, str]:
    """Two names that come to the same part."""
    names: dict[int, str] = {}
    for number in range(10_000):
        name = f"i{number}"
        twin = names.setdefault(slot(name), name)
        if twin != name:
            return twin, name
    raise AssertionError("there are far fewer parts than names")


def test_two_names_with_the_same_part_are_told(tmp_path: Path) -> None:
    one, other = twins()
    text = f"instances: {{{one}: {{url: 'http://a'}}, {other}: {{url: 'http://b'}}}}"
    with pytest.raises(SettingsError, match="have the same number; rename one"):
        read(tmp_path, text)

"""What is kept out of the report, and what its verdict and text say."""

import json

import pytest

from isthmus.doctor.finding import Finding, Subject, Verdict
from isthmus.doctor.report import EXIT, MASK, as_json, as_text, report, secrets_of
from isthmus.settings import load

PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\n-----END PRIVATE KEY-----\n"
SUBJECT = Subject("name", "something")


def test_every_secret_of_the_settings_is_known() -> None:
    settings = load(
        environ={
            "ANTHROPIC_API_KEY": "anthropic-key",
            "AIGW_SELF_SIGNED_JWT__SIGNING_KEY": PEM,
            "ISTHMUS_DATABASE__URL": "postgresql://user:pass%20word@db.example/x",
            "ISTHMUS_TRACING__HEADERS": json.dumps({"x-team": "header-value"}),
            "ISTHMUS_MODELS__CUSTOM_HEADERS": json.dumps({"x-api-key": "custom-value"}),
            "ISTHMUS_MODELS__PARAMS": json.dumps({"a": {"api_key": "params-value", "top_p": 1}}),
            "ISTHMUS_ROUTING__DEPLOYMENTS": json.dumps(
                {"there": {"model": "a", "api_key": "deployment-value"}}
            ),
            "AIGW_GITLAB_URL": "https://me:url-password@gitlab.example",
        }
    )
    assert secrets_of(settings) >= {
        *("anthropic-key", "MIIEvQIBADANBgkqhkiG9w0BAQEF", "pass%20word", "pass word"),
        *("header-value", "custom-value", "params-value", "deployment-value", "url-password"),
    }


def test_an_address_that_lets_nobody_in_may_be_shown() -> None:
    given = {
        "ISTHMUS_LIMITS__URL": "redis://127.0.0.1:6379/0",
        "ISTHMUS_DATABASE__URL": "postgresql://db.example/x?password=sekrit",
        "HTTPS_PROXY": "http://proxy.example:3128",
    }
    assert secrets_of(load(environ=given)) - {""} == {given["ISTHMUS_DATABASE__URL"]}


def test_a_secret_is_masked_in_every_field() -> None:
    finding = Finding("name", "fail", "at sekrit", "sekrit is wrong", "a.sekrit", "set sekrit")
    told = report([finding], 1.0, ["sekrit", "", "a"])
    assert "sekrit" not in as_json(told) + as_text(told)
    assert told.findings[0].cause == f"{MASK} is wrong"


@pytest.mark.parametrize(
    ("verdicts", "worst", "code"),
    [
        ((), "ok", 0),
        (("ok", "skip"), "ok", 0),
        (("ok", "warn"), "warn", 1),
        (("warn", "fail", "ok"), "fail", 3),
    ],
)
def test_the_worst_finding_is_the_verdict(
    verdicts: tuple[Verdict, ...], worst: Verdict, code: int
) -> None:
    told = report([Finding("name", one, "it") for one in verdicts], 1.0)
    assert told.verdict == worst
    assert EXIT[told.verdict] == code


def test_a_person_reads_what_is_not_well_in_full() -> None:
    findings = [
        SUBJECT.ok("fine"),
        SUBJECT.skip("not there"),
        SUBJECT.fail("why", "a.setting", "a command"),
    ]
    assert as_text(report(findings, 1.26)).splitlines() == [
        "ok    name  something: fine",
        "skip  name  something: not there",
        "FAIL  name  something",
        "      cause:   why",
        "      setting: a.setting",
        "      mend:    a command",
        "1 faults, 0 warnings, 1 well, 1 not looked at, in 1.3 s",
    ]

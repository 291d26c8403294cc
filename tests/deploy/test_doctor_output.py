"""What the doctor prints: no secret, one schema, in time, and nothing changed by it."""

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import isthmus
from isthmus.settings import Settings
from isthmus.settings_sources import leaves
from tests.support.doctor_stand import answering, examine
from tests.support.fixtures_store import required
from tests.support.ports import free_port
from tests.support.process import running_server
from tests.support.servers import Missing

FIELDS = {"schema", "version", "verdict", "took_s", "counts", "findings"}
FINDING = {"name", "verdict", "looked_at", "cause", "setting", "mend"}
SECRETS = [leaf for leaf in leaves(Settings) if "SecretStr" in str(leaf.info.annotation)]


def canary(path: str) -> str:
    """What must never be printed. Addresses get it as their password."""
    name = f"canary-{path.replace('.', '-').replace('_', '-')}"
    places = {
        "database.url": f"postgresql://user:{name}@127.0.0.1:{free_port()}/db",
        "limits.url": f"redis://:{name}@127.0.0.1:{free_port()}/0",
        "outbound.proxy_url": f"http://user:{name}@127.0.0.1:{free_port()}",
        "tracing.headers": json.dumps({"authorization": name}),
    }
    return places.get(path, name)


def test_no_secret_is_in_the_output(tmp_path: Path) -> None:
    assert len(SECRETS) > 15
    given = {leaf.variable: canary(leaf.path) for leaf in SECRETS}
    with answering() as vendor:
        # Vendors that quote the key that they refuse.
        for path in ("/v1/messages", "/v1/chat/completions", "/v1/completions"):
            vendor.put(path, {"error": {"message": f"bad key {given}"}}, 401)
        for name in ("anthropic", "openai", "mistral", "fireworks", "azure", "bedrock"):
            root = vendor.url if name in {"anthropic", "azure", "bedrock"} else f"{vendor.url}/v1"
            given[f"ISTHMUS_PROVIDERS__{name.upper()}__BASE_URL"] = root
        given["ISTHMUS_MODELS__PARAMS"] = json.dumps(
            {"codestral_2508_vertex": {"api_key": "canary-params"}}
        )
        given["ISTHMUS_MODELS__CUSTOM_HEADERS"] = json.dumps({"x-key": "canary-header"})
        token = tmp_path / "token"
        token.write_text("canary.token.text", encoding="ascii")
        arguments = ("--token-file", str(token), "--via", vendor.url)
        seen = examine(tmp_path, given, *arguments)
        assert seen.code == 3, seen.text
        assert "canary" not in seen.text
        plain = examine(tmp_path, {**given, "ISTHMUS_HTTP__PROT": "canary"}, *arguments)
    assert plain.code == 2
    assert "canary" not in plain.text


def test_the_schema_of_the_report(tmp_path: Path) -> None:
    report = examine(tmp_path, {}).report
    assert {*report} == FIELDS
    assert report["schema"] == 1
    assert report["version"] == isthmus.__version__
    assert report["verdict"] == "ok"
    assert {*report["counts"]} == {"ok", "skip", "warn", "fail"}
    assert sum(report["counts"].values()) == len(report["findings"])
    findings: list[dict[str, Any]] = report["findings"]
    assert all({*one} == FINDING for one in findings)
    names = {one["name"].partition(".")[0] for one in findings}
    assert names >= {
        *("settings", "modes", "licence", "disk", "keys", "listeners", "process", "proxies"),
        *("running", "issuers", "models", "database", "limits", "instance", "egress", "clock"),
    }


@pytest.mark.parametrize(
    ("settings", "code", "verdict"),
    [
        ({}, 0, "ok"),
        ({"ISTHMUS_HTTP__TRUSTED_PROXIES": "*"}, 1, "warn"),
        ({"ISTHMUS_HTTP__PORT": "many"}, 2, "fail"),
        ({"ISTHMUS_AUTH__ENABLED": "false"}, 3, "fail"),
        ({"ISTHMUS_AUTH__ENABLED": "false", "ISTHMUS_ENVIRONMENT": "development"}, 1, "warn"),
    ],
)
def test_the_exit_code_says_how_bad_it_is(
    settings: dict[str, str], code: int, verdict: str, tmp_path: Path
) -> None:
    seen = examine(tmp_path, settings)
    assert (seen.code, seen.report["verdict"]) == (code, verdict)


def test_servers_that_never_answer_do_not_hold_it_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = {
            "AIGW_GITLAB_URL": f"https://127.0.0.1:{port}",
            "ISTHMUS_AUTH__ISSUERS": f"http://127.0.0.1:{port}",
            "ISTHMUS_PROVIDERS__OPENAI__BASE_URL": f"http://127.0.0.1:{port}/v1",
            "ISTHMUS_PROVIDERS__OPENAI__MODEL": "small",
            "ISTHMUS_DATABASE__URL": f"postgresql://u:p@127.0.0.1:{port}/db",
            "ISTHMUS_LIMITS__URL": f"redis://127.0.0.1:{port}/0",
            "ISTHMUS_HTTP__PORT": str(port),
        }
        began_s = time.monotonic()
        seen = examine(tmp_path, settings, "--timeout", "6", "--via", f"http://127.0.0.1:{port}")
        took_s = time.monotonic() - began_s
    assert seen.code == 3
    failed = {one["name"] for one in seen.found}
    assert failed >= {"issuers", "models.openai", "database", "limits", "instance"}
    # The bound itself, and what a machine under load adds to starting and ending a program.
    assert seen.report["took_s"] < 6 + 3
    assert took_s < 30


SILENT_DNS = """
ip link set lo up
echo 'nameserver 127.0.0.1\noptions timeout:30 attempts:3' > "$0/resolv.conf"
mount --bind "$0/resolv.conf" "$(readlink -f /etc/resolv.conf)"
exec python3 - "$@" <<'END'
import socket, subprocess, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
    silent.bind(("127.0.0.1", 53))
    sys.exit(subprocess.call(sys.argv[1:]))
END
"""


def test_a_name_server_that_never_answers_does_not_hold_it_up(tmp_path: Path) -> None:
    apart = ["unshare", "--mount", "--net"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        required(Missing("no network of its own for a test"))
    settings = {"AIGW_GITLAB_URL": "https://gitlab.example", "OPENAI_API_KEY": "some-key"}
    prefix = [*apart, "bash", "-c", SILENT_DNS, str(tmp_path)]
    began_s = time.monotonic()
    seen = examine(tmp_path, settings, "--timeout", "4", prefix=prefix)
    # The resolver alone would wait for 90 s.
    assert time.monotonic() - began_s < 45
    assert seen.code == 3
    assert {one["name"] for one in seen.found} == {"issuers", "models.openai", "instance"}


def test_nothing_is_made_or_changed(tmp_path: Path) -> None:
    examine(tmp_path, {})
    assert list(tmp_path.iterdir()) == []


def test_a_person_reads_cause_setting_and_mend(tmp_path: Path) -> None:
    with running_server(tmp_path, {"ISTHMUS_AUTH__BYPASS_JWT_SIGNATURE": "true"}) as server:
        done = server.command("doctor")
    assert done.returncode == 3
    lines = [line.strip() for line in done.stdout.splitlines()]
    begin = next(n for n, line in enumerate(lines) if line.startswith("FAIL"))
    assert lines[begin + 1].startswith("cause:")
    assert lines[begin + 2] == "setting: auth.bypass_jwt_signature"
    assert lines[begin + 3] == "mend:    set auth.bypass_jwt_signature to false, and restart"
    assert lines[-1].startswith("1 faults, 0 warnings")


@pytest.mark.parametrize(
    "wrong",
    [
        *(("--via", url) for url in ("ai.example", "https://u:p@ai.example", "https://[bad")),
        ("--timeout", "0"),
    ],
)
def test_wrong_usage_is_told(wrong: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=wrong[0]):
        examine(tmp_path, {}, *wrong)


def test_settings_that_make_no_sense_break_no_check(tmp_path: Path) -> None:
    settings = {
        "ISTHMUS_AUTH__GITLAB_URL": "not a url",
        "ISTHMUS_AUTH__ISSUERS": "http://[::1,ftp://x,http://a:99999",
        "ISTHMUS_LIMITS__URL": "nonsense",
        "ISTHMUS_DATABASE__URL": "nonsense",
        "ISTHMUS_TRACING__ENABLED": "true",
        "ISTHMUS_TRACING__ENDPOINT": "http://[bad",
        "ISTHMUS_INSTANCE__EXTERNAL_URL": "https://[bad",
        "ISTHMUS_INSTANCE__GITLAB_URL": "https://",
        "ISTHMUS_PLATFORM__URL": "::::",
        "ISTHMUS_PROVIDERS__OPENAI__BASE_URL": "http://[bad",
        "ISTHMUS_PROVIDERS__OPENAI__MODEL": "x",
        "ISTHMUS_OUTBOUND__PROXY_URL": "socks5://x",
        "ISTHMUS_HTTP__HOST": "no such host",
    }
    seen = examine(tmp_path, settings, "--token", "a.b")
    assert seen.code == 3
    assert not [one for one in seen.found if "itself broke" in one["cause"]]
    assert {one["setting"] for one in seen.found} >= {
        *("auth.gitlab_url", "auth.issuers", "limits.url", "database.url", "platform.url"),
        *("instance.gitlab_url", "outbound.proxy_url", "http.port", "--token"),
        "providers.openai.base_url",
    }


def test_settings_are_told_with_their_sources(tmp_path: Path) -> None:
    (tmp_path / "isthmus.yml").write_text("http: {host: 127.0.0.1}\n", encoding="utf-8")
    findings = examine(tmp_path, {"AIGW_GITLAB_URL": ""}).report["findings"]
    (told,) = (one["cause"] for one in findings if one["name"] == "settings")
    assert "isthmus.yml: http.host" in told
    assert "variable AIGW_GITLAB_URL" in told

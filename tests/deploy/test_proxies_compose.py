"""deploy/compose: every reference leads somewhere, and every service is one that can be left alone.

There is no Docker here: what Compose would refuse is looked for by its own rules.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from isthmus.cli.main import COMMANDS
from tests.support.proxies import BIN, COMPOSE

FILES = ("compose.yml", "compose.caddy.yml", "compose.envoy.yml")
SERVICE_KEYS = {
    *("image", "build", "command", "entrypoint", "environment", "env_file", "ports", "volumes"),
    *("networks", "depends_on", "healthcheck", "restart", "stop_grace_period", "stop_signal"),
    *("secrets", "profiles", "read_only", "cap_drop", "security_opt", "ulimits"),
}
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period"}
MADE = {"tls", "secrets"}
"""Folders that the guide's commands make."""
Json = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Knows Compose's tag for a list that replaces another one."""


def _plain(loader: _Loader, node: yaml.Node) -> object:
    assert isinstance(node, yaml.SequenceNode)
    return ["!override", *cast("list[object]", loader.construct_sequence(node, deep=True))]


_Loader.add_constructor("!override", _plain)


def read(name: str) -> Json:
    return yaml.load((COMPOSE / name).read_text(encoding="utf-8"), _Loader)  # noqa: S506 - safe


def merged(name: str) -> Json:
    """As `docker compose -f compose.yml -f NAME` sees it."""
    whole = read("compose.yml")
    more = read(name) if name != "compose.yml" else {}
    for service, changes in more.get("services", {}).items():
        kept = whole["services"][service]
        for key, value in changes.items():
            if isinstance(value, list) and value[:1] == ["!override"]:
                kept[key] = value[1:]
            elif isinstance(value, dict):
                kept[key] = kept.get(key, {}) | value
            else:
                kept[key] = value
    whole["volumes"] |= more.get("volumes", {})
    return whole


def seconds(text: str) -> int:
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    assert found, text
    assert any(found.groups()), text
    hours, minutes, rest = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + rest


@pytest.fixture(params=FILES)
def whole(request: pytest.FixtureRequest) -> Json:
    return merged(request.param)


def test_every_name_is_known_and_every_reference_leads_somewhere(whole: Json) -> None:
    assert whole.keys() == {"name", "services", "networks", "volumes", "secrets"}
    used: set[str] = set()
    for name, service in whole["services"].items():
        assert service.keys() <= SERVICE_KEYS, name
        assert {*service.get("networks", ())} <= whole["networks"].keys(), name
        assert {*service.get("secrets", ())} <= whole["secrets"].keys(), name
        for other, how in service.get("depends_on", {}).items():
            assert "healthcheck" in whole["services"][other]
            assert how == {"condition": "service_healthy"}
        for volume in service.get("volumes", ()):
            source, target, *mode = volume.split(":")
            assert target.startswith("/")
            assert mode in ([], ["ro"])
            if source.startswith("./"):
                path = COMPOSE / source
                assert path.name in MADE or path.is_file(), volume
            else:
                used.add(source)
    assert used <= whole["volumes"].keys()
    for name, secret in whole["secrets"].items():
        assert secret == {"file": f"secrets/{name}"}


def test_every_service_comes_back_and_says_how_it_is(whole: Json) -> None:
    for name, service in whole["services"].items():
        assert service["restart"] == "unless-stopped", name
        assert service["image"].count(":") >= 1, name
        assert not service["image"].endswith(":latest") or "ISTHMUS_IMAGE" in service["image"]
        health = service["healthcheck"]
        assert health.keys() <= HEALTH_KEYS, name
        assert health["test"][0] in {"CMD", "CMD-SHELL"}
        for key in ("interval", "timeout", "start_period"):
            assert seconds(health.get(key, "1s")) > 0
    assert whole["services"]["isthmus"]["healthcheck"]["test"][1] == "isthmus"
    assert whole["services"]["isthmus"]["healthcheck"]["test"][2] in COMMANDS


def test_the_proxy_alone_is_open_to_the_world(whole: Json) -> None:
    services = whole["services"]
    assert [name for name, one in services.items() if "ports" in one] == ["front"]
    inner = {port.rpartition(":")[2] for port in services["front"]["ports"]}
    assert {"443", "8443"} <= inner <= {"80", "443", "8443"}
    assert whole["networks"]["back"] == {"internal": True}
    for name in ("postgres", "valkey"):
        assert services[name]["networks"] == ["back"]
    ours = services["isthmus"]
    assert ours["read_only"] is True
    assert ours["cap_drop"] == ["ALL"]
    (subnet,) = whole["networks"]["front"]["ipam"]["config"]
    assert ours["environment"]["ISTHMUS_HTTP__TRUSTED_PROXIES"] == subnet["subnet"]


def test_nothing_is_killed_before_it_has_ended(whole: Json) -> None:
    services = whole["services"]
    drain_s = float(services["isthmus"]["environment"]["ISTHMUS_DRAIN__DEADLINE_S"])
    ours, front = (seconds(services[name]["stop_grace_period"]) for name in ("isthmus", "front"))
    assert drain_s + 10 <= ours <= front


def test_no_secret_is_in_the_files(whole: Json) -> None:
    for service in whole["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY|URL|TOKEN", name):
                assert name.endswith("_FILE"), name
                assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_a_renewed_certificate_replaces_the_one_before(tmp_path: Path) -> None:
    lineage, tls = tmp_path / "live", tmp_path / "tls"
    script = (COMPOSE / "install-certificate").read_text()
    assert (COMPOSE / "install-certificate").stat().st_mode & 0o111
    for folder in (lineage, tls):
        folder.mkdir()
    (lineage / "fullchain1").write_text("chain")
    (lineage / "fullchain.pem").symlink_to("fullchain1")
    (lineage / "privkey.pem").write_text("key")
    (tls / "server.crt").write_text("old")
    subprocess.run(
        ["sh", "-c", script.replace("/etc/isthmus/tls", str(tls))],
        env={"RENEWED_LINEAGE": str(lineage), "PATH": "/usr/bin:/bin"},
        check=True,
        timeout=30,
    )
    assert (tls / "server.crt").read_text() == "chain"
    assert (tls / "server.key").read_text() == "key"
    assert sorted(path.name for path in tls.iterdir()) == ["server.crt", "server.key"]


def test_an_hour_of_silence_ends_nothing() -> None:
    """Each limit was found by sessions that fell silent, or by streams; waiting is for nobody."""
    nginx = (COMPOSE / "nginx.conf").read_text()
    for limit in ("proxy_read_timeout", "proxy_send_timeout", "client_body_timeout"):
        assert f" {limit} 3600s;" in nginx
    for limit in ("grpc_read_timeout", "grpc_send_timeout", "keepalive_timeout"):
        assert f" {limit} 3600s;" in nginx
    caddy = subprocess.run(
        [str(BIN / "caddy"), "adapt", "--config", "Caddyfile"],
        cwd=COMPOSE,
        capture_output=True,
        check=True,
        timeout=60,
    )
    servers = json.loads(caddy.stdout)["apps"]["http"]["servers"]
    for one in servers.values():
        for limit in ("read_idle_timeout", "write_idle_timeout", "idle_timeout"):
            assert one[limit] == 3600 * 10**9
    envoy: Json = yaml.safe_load((COMPOSE / "envoy.yaml").read_text())
    for listener in envoy["static_resources"]["listeners"]:
        (chain,) = listener["filter_chains"]
        manager = chain["filters"][0]["typed_config"]
        assert manager["stream_idle_timeout"] == "3600s"
        assert manager["request_timeout"] == "0s"
        for host in manager["route_config"]["virtual_hosts"]:
            assert [route["route"]["timeout"] for route in host["routes"]] == ["0s"]

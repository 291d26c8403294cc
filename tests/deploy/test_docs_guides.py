"""The guides to install, connect, use and guard the server, as a person would follow them."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import yaml

from isthmus.app.library import LIBRARY
from isthmus.routing.catalogue import parse_catalogue
from isthmus.routing.narrow import narrowed
from isthmus.settings import load
from tests.support.guide import ROOT, block, blocks
from tests.support.instances import gitlab
from tests.support.process import PROGRAM, prepare, running_server, wait_for_port

STAND_IN = '#!/bin/sh\nfor each in "${0##*/}" "$@"; do printf "%s\\0" "$each"; done >> "$SAID"\n'
"""A program that notes how it was called, and does nothing."""


def follow(
    script: str, folder: Path, stand_ins: tuple[str, ...], variables: Mapping[str, str]
) -> list[list[str]]:
    """Run a page's commands with stand-ins for some programs; how these were called."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name in stand_ins:
        (programs / name).write_text(STAND_IN, encoding="utf-8")
        (programs / name).chmod(0o755)
    said = folder / "said"
    said.write_bytes(b"")
    path = f"{programs}:{Path(PROGRAM).parent}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-euc", script],
        env={**variables, "PATH": path, "SAID": str(said)},
        cwd=folder,
        check=True,
        timeout=120,
    )
    words = said.read_bytes().decode().split("\0")[:-1]
    calls: list[list[str]] = []
    for word in words:
        if word in stand_ins and (not calls or word == calls[0][0]):
            calls.append([])
        calls[-1].append(word)
    return calls


def test_in_a_minute_there_is_a_server(tmp_path: Path) -> None:
    first, second = (text for text in blocks("install", "sh") if ".venv/bin/isthmus" in text)
    assert first.splitlines()[0] == "make install"
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "isthmus").symlink_to(PROGRAM)
    for script in (first.replace("make install\n", ""), second):
        server = prepare(tmp_path)
        process = subprocess.Popen(
            ["bash", "-euc", f"exec {script.splitlines()[-1]}"],
            env=server.environment,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for_port(server.http, 60)
        finally:
            process.terminate()
            assert process.wait(60) == 0


def test_the_line_for_docker_starts_a_server(tmp_path: Path) -> None:
    script = block("install", "sh", "docker run")
    run, then = follow(script, tmp_path, ("docker",), {"HOME": str(tmp_path)})
    assert run[1] == "run"
    image = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")
    ports = [run[at + 1] for at, word in enumerate(run) if word == "-p"]
    assert ports == ["5052:5052", "50052:50052"]
    assert all(port.partition(":")[2] in image for port in ports)
    given = dict(run[at + 1].split("=", 1) for at, word in enumerate(run) if word == "-e")
    assert given["DUO_WORKFLOW_SELF_SIGNED_JWT__SIGNING_KEY"].startswith("-----BEGIN")
    volume = run[run.index("--volume") + 1].partition(":")[2]
    assert f'VOLUME ["{volume}"]' in image
    with running_server(tmp_path, given) as server:
        server.wait_for_sessions()
        words = server.command("keys", "show").stdout
    assert then[1:] == ["exec", "isthmus", "isthmus", "doctor"]
    assert "RSA" in words or "2048" in words, words


def test_the_unit_is_put_into_its_place(tmp_path: Path) -> None:
    script = block("install", "sh", "systemctl").replace("/etc/", f"{tmp_path}/etc/")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    config = block("install", "yaml", "gitlab_url")
    secrets = blocks("install", "ini")
    (tmp_path / "isthmus.yml").write_text(config, encoding="utf-8")
    (tmp_path / "isthmus.env").write_text("".join(secrets), encoding="utf-8")
    calls = follow(script, tmp_path, ("systemctl",), {})
    assert calls == [["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", "isthmus"]]
    etc = tmp_path / "etc"
    assert (etc / "isthmus" / "isthmus.env").stat().st_mode & 0o777 == 0o600
    assert (etc / "systemd" / "system" / "isthmus.service").is_file()
    lines = (line.split("=", 1) for line in "".join(secrets).splitlines())
    settings = load(etc / "isthmus" / "isthmus.yml", environ=dict(lines))
    assert settings.database.url.get_secret_value().startswith("postgresql://")
    assert settings.http.host == "0.0.0.0"


def test_the_list_of_instances_fits_the_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "isthmus.yml"
    path.write_text(block("connect", "yaml", "instances:"), encoding="utf-8")
    settings = load(path, environ={})
    given = settings.models, settings.providers.openai, settings.routing.deployments
    whole = parse_catalogue((Path(LIBRARY) / "models.yml").read_bytes(), *given)
    homes = {"vertex": "global", "bedrock": "us-east-1"}
    left = {name: narrowed(whole, name, one, homes) for name, one in settings.instances.items()}
    places = left["acme"].models["claude_sonnet_4_6"].deployments
    assert [entry.name for entry in places] == ["sonnet-eu"]
    assert set(left["globex"].barred) == {"claude_opus_4_8"}


def test_an_instance_is_connected(tmp_path: Path) -> None:
    with gitlab("acme") as one:
        text = block("connect", "yaml", "auth:").replace("https://gitlab.example.com", one.url)
        (tmp_path / "isthmus.yml").write_text(text, encoding="utf-8")
        script = block("connect", "sh", "isthmus doctor")
        with running_server(tmp_path) as server:
            server.wait_for_sessions()
            doctor, ask = script.splitlines()
            assert server.script(doctor).returncode in {0, 1}
            assert json.loads(server.script(ask).stdout) == {"serving": True}
            until = time.monotonic() + 60
            while "/keys" not in one.asked and time.monotonic() < until:
                time.sleep(0.05)
        assert {"/.well-known/openid-configuration", "/keys"} <= set(one.asked)
    assert yaml.safe_load(text)["auth"]["customer_portal_url"] == ""


def test_clients_need_no_instance(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        server.wait_for_sessions()
        tokens = block("clients", "sh", "tokens list")
        done = server.script(tokens)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("glpat-")
        assert "laptop" in done.stdout
        more = server.script(block("clients", "sh", "users add"))
        assert more.returncode == 0, more.stderr
        session = server.script(block("clients", "sh", "executor"), timeout_s=180)
        assert session.returncode == 0, session.stdout + session.stderr
        assert (tmp_path / "isthmus-tour.md").is_file()
        completion = server.script(block("clients", "sh", "curl"))
        assert json.loads(completion.stdout)["choices"][0]["text"], completion.stderr


def test_what_is_shown_holds_no_secret(tmp_path: Path) -> None:
    secret = {"ANTHROPIC_API_KEY": "sk-do-not-show-this"}
    with running_server(tmp_path, secret) as server:
        done = server.script(block("security", "sh", "config show"))
    assert done.returncode == 0, done.stderr
    assert "**********" in done.stdout
    assert "do-not-show" not in done.stdout
    assert "PRIVATE KEY" not in done.stdout

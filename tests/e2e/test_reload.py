"""A running server whose settings change: by a signal, by its file, and seen by `config diff`."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.support.process import RunningServer, prepare, running_server, start
from tests.support.scripted_upstream import KEY as KEY_OF_UPSTREAM
from tests.support.scripted_upstream import scripted_upstream

KEY = "sk-first-key-0123456789"
OTHER = "sk-other-key-0123456789"


def lines(server: RunningServer, message: str) -> list[dict[str, object]]:
    found = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    return [line for line in found if line["message"] == message]


def until(true: Callable[[], object], limit_s: float = 20.0) -> None:
    end_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def written(folder: Path, *, key: str, more: str = "") -> Path:
    file = folder / "isthmus.yml"
    text = f"logging: {{level: INFO}}\nproviders: {{anthropic: {{api_key: {key}}}}}\n{more}"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_hangup_has_the_settings_read_and_diff_says_what_is_not_in_force(tmp_path: Path) -> None:
    written(tmp_path, key=KEY, more="reload: {watch_s: 0}\n")
    with running_server(tmp_path, {"ISTHMUS_TRANSPORTS": "http"}) as server:
        snapshot = tmp_path / "var" / "running-http.json"
        until(snapshot.is_file)
        assert snapshot.stat().st_mode & 0o077 == 0
        assert KEY not in snapshot.read_text(encoding="utf-8")
        same = server.command("config", "diff")
        assert (same.returncode, same.stdout, same.stderr) == (0, "", "")

        written(tmp_path, key=OTHER, more="reload: {watch_s: 0}\nhttp: {body_limit_bytes: 2048}\n")
        server.environment["ISTHMUS_LOGGING__LEVEL"] = "WARNING"
        differs = server.command("config", "diff")
        assert differs.returncode == 1
        assert differs.stdout.splitlines()[0].startswith("http.body_limit_bytes: 8388608 -> 2048")
        assert "providers.anthropic.api_key: a secret in it changed" in differs.stdout
        assert "logging.level: INFO -> WARNING  # taken when it is read again" in differs.stdout
        assert KEY not in differs.stdout
        assert OTHER not in differs.stdout

        server.process.send_signal(signal.SIGHUP)
        until(lambda: lines(server, "the configuration was read"))
        [line] = lines(server, "the configuration was read")
        assert line["http.body_limit_bytes"] == "needs a restart"
        assert "providers.anthropic.api_key" in line
        del server.environment["ISTHMUS_LOGGING__LEVEL"]
        left = server.command("config", "diff").stdout.splitlines()
        assert left[0].startswith("http.body_limit_bytes: 8388608 -> 2048  # needs a restart")

        (tmp_path / "isthmus.yml").write_text("http: {body_limit_bytes: many}\n", encoding="utf-8")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: lines(server, "the configuration was refused"))
        [line] = lines(server, "the configuration was refused")
        assert "http.body_limit_bytes" in str(line["reason"])
        wrong = server.command("config", "diff")
        assert wrong.returncode == 2
        assert server.stop() == 0
        assert not snapshot.exists()
        written(tmp_path, key=KEY)
        nobody = server.command("config", "diff")
        assert (nobody.returncode, nobody.stdout) == (2, "")
        assert "no server runs" in nobody.stderr


def test_a_file_that_changes_is_read_without_being_asked(tmp_path: Path) -> None:
    written(tmp_path, key=KEY, more="reload: {watch_s: 0.1}\n")
    with running_server(tmp_path, {"ISTHMUS_TRANSPORTS": "http"}) as server:
        until((tmp_path / "var" / "running-http.json").is_file)
        more = "reload: {watch_s: 0.1}\nlogging: {json_lines: false}\n"
        (tmp_path / "isthmus.yml").write_text(more, encoding="utf-8")
        # The line that tells of it is the first one in the new form.
        until(lambda: "info     the configuration was read" in server.log)
        assert "logging.json_lines=taken" in server.log
        assert server.stop() == 0


def test_what_a_killed_server_left_is_no_running_server(tmp_path: Path) -> None:
    server = prepare(tmp_path, {"ISTHMUS_TRANSPORTS": "http"})
    start(server)
    try:
        until((tmp_path / "var" / "running-http.json").is_file)
    finally:
        server.process.kill()
        server.process.wait()
    assert (tmp_path / "var" / "running-http.json").is_file()
    assert server.command("config", "diff").returncode == 2


def test_a_new_key_is_used_from_the_next_call_on(tmp_path: Path) -> None:
    with scripted_upstream({}) as upstream:
        more = f"    base_url: http://127.0.0.1:{upstream.port}\nreload: {{watch_s: 0}}\n"

        def write(key: str) -> None:
            text = f"providers:\n  anthropic:\n    api_key: {key}\n{more}"
            (tmp_path / "isthmus.yml").write_text(text, encoding="utf-8")

        write("refused")
        with running_server(tmp_path, {"ISTHMUS_TRANSPORTS": "http"}) as server:
            scope = "ai_gateway_model_provider_proxy"
            headers = server.headers(scope) | {
                "anthropic-version": "2023-06-01",
                "x-gitlab-unit-primitive": scope,
            }
            message = {"role": "user", "content": "hi"}
            body = {"model": "claude-sonnet-4-6", "max_tokens": 9, "messages": [message]}

            def ask() -> int:
                url = f"{server.url}/v1/proxy/anthropic/v1/messages"
                return httpx.post(url, json=body, headers=headers, timeout=30).status_code

            assert ask() != 200
            write(KEY_OF_UPSTREAM)
            server.process.send_signal(signal.SIGHUP)
            until(lambda: lines(server, "the configuration was read"))
            assert ask() == 200
            [line] = lines(server, "the configuration was read")
            assert line["providers.anthropic.api_key"] == "taken"
            assert KEY_OF_UPSTREAM not in server.log
            assert server.stop() == 0

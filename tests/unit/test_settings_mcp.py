"""The settings of MCP servers and of the scanner: what is refused, and that no secret is shown."""

from pathlib import Path

import pytest

from isthmus.cli.main import main
from isthmus.settings import SettingsError, load

SERVER = """
mcp:
  servers:
    demo:
      url: https://mcp.example/mcp
      headers: {Authorization: Bearer s3cret-of-it}
    local:
      command: mcp-server
      args: [--stdio]
      env: {TOKEN: s3cret-of-it}
platform:
  scan: {engine: service, url: "https://scan.example/", token: s3cret-of-it}
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "isthmus.yml"
    file.write_text(text, encoding="utf-8")
    return file


def test_servers_are_read(tmp_path: Path) -> None:
    settings = load(written(tmp_path, SERVER), environ={})
    demo = settings.mcp.servers["demo"]
    assert demo.headers["Authorization"].get_secret_value() == "Bearer s3cret-of-it"
    assert (demo.approve, demo.trusted, demo.allow) == ("ask", False, ("*",))
    assert settings.mcp.servers["local"].args == ("--stdio",)
    assert load(environ={}).mcp.servers == {}


def test_a_variable_holds_them_as_json() -> None:
    text = '{"demo": {"command": "x", "env": {"A": "b"}}}'
    servers = load(environ={"ISTHMUS_MCP__SERVERS": text}).mcp.servers
    assert servers["demo"].env["A"].get_secret_value() == "b"


def test_no_secret_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, SERVER)
    assert "s3cret" not in repr(load(file, environ={}))
    assert main(["config", "show", "--config", str(file)]) == 0
    shown = capsys.readouterr()
    assert "s3cret" not in shown.out + shown.err
    assert "mcp.example" in shown.out


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ("{}", "command"),
        ("{command: s3cret, url: 'https://s3cret'}", "command"),
        ("{url: 'ftp://s3cret'}", "http"),
        ("{url: 'https://a', env: {A: s3cret}}", "env"),
        ("{command: a, headers: {A: s3cret}}", "headers"),
        ("{url: 'https://a', headers: {'A b': s3cret}}", "name"),
        ('{url: "https://a", headers: {A: "s3cret\\n"}}', "one line"),
        ('{command: a, env: {A: "s3cret\\0"}}', "NUL"),
        ("{command: a, approve: never}", "approve"),
        ("{command: a, none: s3cret}", "none"),
        ("{command: a, max_tools: 0}", "max_tools"),
        ("7", "demo"),
    ],
)
def test_a_fault_names_the_server_and_no_secret(tmp_path: Path, server: str, says: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(written(tmp_path, f"mcp: {{servers: {{demo: {server}}}}}"), environ={})
    assert "mcp.servers" in str(raised.value)
    assert "demo" in str(raised.value)
    assert says in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "-a", "a b", "ä", "x" * 33, "a_"])
def test_a_name_can_be_part_of_a_tools(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"mcp\.servers"):
        load(written(tmp_path, f"mcp: {{servers: {{'{name}': {{command: a}}}}}}"), environ={})


@pytest.mark.parametrize("scan", ["{engine: service}", "{url: here}", "{engine: magic}"])
def test_a_scanner_that_cannot_be_asked_is_refused(tmp_path: Path, scan: str) -> None:
    with pytest.raises(SettingsError, match=r"platform"):
        load(written(tmp_path, f"platform: {{scan: {scan}}}"), environ={})

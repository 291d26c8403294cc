"""What docs/guide/tls.md shows, as a person would follow it."""

import itertools
import os
import re
import shlex
import ssl
import subprocess
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from isthmus.core import dotenv
from isthmus.settings import load
from tests.support.process import PROGRAM
from tests.support.proxies import BIN, COMPOSE, KINDS
from tests.support.tls_guide import NAME, PAGE, block, blocks, certificates, folder, follow

RUN = {"openssl rand", "openssl x509", "sed -i '/^", "proxy_pass", "ISTHMUS_OUTBOUND__CA_FILE"}
"""Words of the blocks that tests here run; all others are for Docker, or for the server there."""


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Path:
    return folder(tmp_path)


def test_no_block_is_forgotten() -> None:
    others = [each for each in blocks("sh") if not any(words in each for words in RUN)]
    assert all(each.lstrip().startswith(("docker compose ", "isthmus doctor ")) for each in others)
    assert PAGE.read_text().count("```") == 2 * sum(
        len(blocks(kind)) for kind in ("sh", "ini", "yaml")
    )


def test_what_compose_is_given_is_what_the_server_reads(place: Path) -> None:
    follow(block("sh", "openssl rand"), place)
    secrets = {path.name: path.read_text() for path in (place / "secrets").iterdir()}
    composed = yaml.load((COMPOSE / "compose.yml").read_text(), yaml.SafeLoader)
    assert secrets.keys() == composed["secrets"].keys()
    assert all(oct(path.stat().st_mode)[-3:] == "644" for path in (place / "secrets").iterdir())
    assert oct(place.stat().st_mode)[-3:] == "700"
    given = {
        name: str(value).replace("/run/secrets/", f"{place}/secrets/")
        for name, value in composed["services"]["isthmus"]["environment"].items()
    }
    given |= dotenv.read(block("ini", "AIGW_GITLAB_URL"))
    found = load(environ=given)
    password = secrets["database_password"].strip()
    url = f"postgresql://isthmus:{password}@postgres:5432/isthmus"
    assert found.database.url.get_secret_value() == url
    word = secrets["valkey_conf"].removeprefix("requirepass ").strip()
    assert found.limits.url.get_secret_value() == f"redis://:{word}@valkey:6379/0"
    assert found.auth.platform_signing_key.get_secret_value().strip().startswith("-----BEGIN")
    assert found.instance.external_url == f"https://{NAME}"


def test_certificates_are_for_the_name_and_for_the_server_behind(place: Path) -> None:
    files = certificates(place, NAME)
    shown = x509.load_pem_x509_certificate((files / "server.crt").read_bytes())
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME, "isthmus"]
    assert "server.crt: OK" in follow("openssl verify -CAfile tls/ca.crt tls/server.crt", place)
    ssl.create_default_context(cafile=files / "ca.crt").load_cert_chain(
        files / "server.crt", files / "server.key"
    )
    given = dotenv.read(block("ini", "ISTHMUS_GRPC__TLS__ENABLED"))
    here = {name: value.replace("/etc/isthmus/tls", str(files)) for name, value in given.items()}
    found = load(environ=here)
    assert (found.http.tls.enabled, found.grpc.tls.enabled) == (True, True)
    (place / "settings.yml").write_text(block("yaml", "client_auth").replace("tls/", f"{files}/"))
    found = load(place / "settings.yml", environ={})
    assert (found.http.tls.client_auth, found.grpc.tls.client_auth) == ("required", "required")


def test_the_commands_for_tls_behind_the_proxy_are_the_changes_that_are_tested(
    place: Path,
) -> None:
    follow(block("sh", "proxy_pass"), place)
    for kind in KINDS.values():
        expected = (COMPOSE / kind.file).read_text()
        for old, new in kind.change:
            expected = expected.replace(old, new)
        assert (place / kind.file).read_text() == expected, kind.file
    (line,) = (place / ".env").read_text().splitlines()
    assert line == " ".join(f"{k}={v}" for k, v in KINDS["caddy"].environment.items())


def adapted(place: Path, **variables: str) -> str:
    """What Caddy makes of its file there."""
    return subprocess.run(
        [str(BIN / "caddy"), "adapt", "--config", "Caddyfile"],
        env=variables,
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def test_caddy_gets_its_own_certificates_without_the_lines(place: Path) -> None:
    assert "load_files" in adapted(place)
    follow(block("sh", "sed -i '/^"), place)
    given = dotenv.read((place / ".env").read_text())
    now = adapted(place, **given)
    assert "load_files" not in now
    assert f'"host":["{NAME}"]' in now
    formatted = subprocess.run(
        [str(BIN / "caddy"), "fmt", "Caddyfile"], cwd=COMPOSE, capture_output=True, check=False
    )
    assert formatted.stdout == (COMPOSE / "Caddyfile").read_bytes()


def test_the_authority_is_one_that_settings_take(place: Path) -> None:
    certificates(place, NAME)
    path = f"{Path(PROGRAM).parent}:{os.environ['PATH']}"
    script = f"export PATH={shlex.quote(path)}\n" + block("sh", "ISTHMUS_OUTBOUND__CA_FILE")
    follow(script, place)
    (place / "tls" / "ca.crt").unlink()
    with pytest.raises(AssertionError, match="ca_file"):
        follow(script, place)


def test_dockers_commands_name_files_and_services_that_there_are() -> None:
    services = yaml.load((COMPOSE / "compose.yml").read_text(), yaml.SafeLoader)["services"]
    lines = [
        line.strip()
        for each in blocks("sh")
        for line in each.splitlines()
        if line.strip().startswith("docker ")
    ]
    assert len(lines) == 6
    for line in lines:
        words = shlex.split(line)
        assert words[:2] == ["docker", "compose"]
        for option, value in itertools.pairwise(words):
            if option == "-f":
                assert (COMPOSE / value).is_file()
            if option == "--profile":
                assert any(value in one.get("profiles", ()) for one in services.values())
            if option in {"exec", "certbot"} and re.fullmatch("[a-z]+", value):
                assert value in {*services, "certonly"}


def test_the_page_names_every_file_that_is_shipped() -> None:
    text = PAGE.read_text()
    for path in COMPOSE.iterdir():
        if path.name not in {"secrets", "tls", ".env", ".gitignore"}:
            assert path.name in text, path.name

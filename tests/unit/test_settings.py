"""Layers of settings: which one wins, what is refused, and what a fault says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from isthmus import settings_yaml
from isthmus.core import dotenv
from isthmus.settings import Settings, SettingsError, load, read
from isthmus.settings_group import Group
from isthmus.settings_names import OPERATOR_NAMES
from isthmus.settings_sources import leaves

SECRET = "do-not-repeat-me"


def yml(folder: Path, text: str) -> Path:
    path = folder / "isthmus.yml"
    path.write_text(text, encoding="utf-8")
    return path


def faults(file: Path | None = None, **environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(file, environ=environ)
    return caught.value.faults


def test_nothing_set_is_the_defaults() -> None:
    assert load(environ={}) == Settings()


def groups(tree: type[BaseModel], path: str = "settings") -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, tree
    for name, info in tree.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from groups(info.annotation, f"{path}.{name}")


@pytest.mark.parametrize(("path", "group"), list(groups(Settings)))
def test_defaults_that_nothing_looks_at_are_valid(path: str, group: type[BaseModel]) -> None:
    defaults = group()
    values = {name: getattr(defaults, name) for name in group.model_fields}
    assert group.model_validate(values) == defaults, path
    assert defaults.model_fields_set == set()


def test_a_group_that_must_be_given_something_is_not_made_of_nothing() -> None:
    class Needy(Group):
        wanted: int

    with pytest.raises(ValidationError):
        Needy.model_validate({})
    with pytest.raises(ValidationError):
        Needy()  # pyright: ignore[reportCallIssue] - that is what is tested


def test_a_later_layer_wins(tmp_path: Path) -> None:
    file = yml(tmp_path, "http:\n  port: 1\n  host: a\nworkers: 1\ngrpc: {port: 9}\n")
    own = {"ISTHMUS_HTTP__PORT": "3", "AIGW_FASTAPI__API_PORT": "2"}
    assert load(file, environ={}).http.port == 1
    assert load(file, environ={"AIGW_FASTAPI__API_PORT": "2"}).http.port == 2
    assert load(file, environ=own).http.port == 3
    assert load(file, {"http.port": 4, "transports": None}, own).http.port == 4
    assert load(file, environ=own).http.host == "a"
    assert load(file, environ=own).grpc.port == 9


def test_sources_tell_where_each_value_came_from(tmp_path: Path) -> None:
    file = yml(tmp_path, "http:\n  host: a\n  port: 1\n")
    _, sources = read(file, {"transports": "http"}, {"aigw_fastapi__api_port": "2"})
    assert sources == {
        "http.host": f"{file}, line 2",
        "http.port": "variable aigw_fastapi__api_port",
        "transports": "flag --transports",
    }


@pytest.mark.parametrize(("variable", "path"), OPERATOR_NAMES)
def test_every_operators_name_reaches_its_setting(variable: str, path: str) -> None:
    leaf = {leaf.path: leaf for leaf in leaves(Settings)}[path]
    kind = str(leaf.info.annotation)
    samples = {
        "dict[str, str]": '{"a": "b"}',
        "dict[str, float]": '{"a": 0.5}',
        "dict[str, tuple[str, ...]]": '{"a": ["b"]}',
    }
    text = samples.get(kind, '{"a": {}}' if "dict" in kind else "1")
    if "Literal" in kind:
        text = "error"
    if path.startswith("outbound.") and path.endswith("_file"):
        text = __file__
    if "tls.enabled" in path:
        text = "off"
    _, sources = read(environ={variable: text})
    assert sources == {path: f"variable {variable}"}


@pytest.mark.parametrize("text", ["1", "true", "Yes", "on", "t", "Y"])
def test_booleans_that_mean_yes(text: str) -> None:
    assert load(environ={"AIGW_CUSTOM_MODELS__ENABLED": text}).models.custom_enabled


@pytest.mark.parametrize("text", ["0", "false", "No", "off", "f", "n"])
def test_booleans_that_mean_no(text: str) -> None:
    assert not load(environ={"DUO_WORKFLOW_AUTH__ENABLED": text}).auth.enabled


def test_lists_and_maps_are_read_from_text() -> None:
    settings = load(
        environ={
            "AIGW_PROXY_ENDPOINTS__SAAS_ENABLED": " 1, 2 ,,",
            "ISTHMUS_AUTH__ISSUERS": '["https://a", "https://b"]',
            "AIGW_FEATURE_FLAGS__DISALLOWED_FLAGS": '{"saas": ["x", "y"]}',
            "ISTHMUS_TRANSPORTS": "grpc",
        }
    )
    assert settings.gateway.proxy_saas == ("1", "2")
    assert settings.auth.issuers == ("https://a", "https://b")
    assert settings.gateway.disallowed_flags == {"saas": ("x", "y")}
    assert settings.transports == ("grpc",)


def test_empty_and_none_texts() -> None:
    settings = load(
        environ={
            "AIGW_CUSTOMER_PORTAL_URL": "",
            "AIGW_GITLAB_URL": "None",
            "ISTHMUS_HTTP__METRICS_PORT": "",
            "AIGW_FASTAPI__DOCS_URL": "",
        }
    )
    assert settings.auth.customer_portal_url == ""
    assert settings.auth.gitlab_url == "None"
    assert settings.http.metrics_port is None
    assert settings.http.docs_url is None


def test_faults_name_the_key_and_its_source(tmp_path: Path) -> None:
    file = yml(tmp_path, "http:\n  prot: 1\n  host: [a]\ngrpc: 5\nlimits:\n")
    assert faults(file, AIGW_FASTAPI__API_PORT="x", ISTHMUS_WORKERS="99") == (
        f"http.prot: unknown key; did you mean `http.port`? ({file}, line 2)",
        f"grpc: must be a group of settings ({file}, line 4)",
        "workers: must be less than or equal to 64 (variable ISTHMUS_WORKERS)",
        f"http.host: must be a valid string ({file}, line 3)",
        "http.port: must be a valid integer, unable to parse string as an integer"
        " (variable AIGW_FASTAPI__API_PORT)",
    )


def test_an_unknown_variable_of_ours_is_an_error_and_of_others_is_not() -> None:
    assert faults(ISTHMUS_HTP__PORT="1") == (
        "ISTHMUS_HTP__PORT: unknown variable; did you mean `ISTHMUS_HTTP__PORT`?"
        " (variable ISTHMUS_HTP__PORT)",
    )
    assert len(faults(ISTHMUS_PORT="5052")) == 1
    load(environ={"AIGW_NO_SUCH": "1", "DUO_WORKFLOW_NO_SUCH": "1", "ISTHMUS_TOKEN": SECRET})


def test_variables_that_kubernetes_adds_are_ignored() -> None:
    load(
        environ={
            "ISTHMUS_PORT": "tcp://10.0.0.1:5052",
            "ISTHMUS_SERVICE_HOST": "10.0.0.1",
            "ISTHMUS_HTTP_SERVICE_PORT_API": "5052",
            "ISTHMUS_PORT_5052_TCP_ADDR": "10.0.0.1",
        }
    )


def test_a_secret_is_in_no_fault(tmp_path: Path) -> None:
    file = yml(tmp_path, f"auth:\n  signing_key: [{SECRET}]\nproviders:\n  openai: {SECRET}\n")
    found = faults(file, AIGW_MODEL_SELECTION__DEFAULT_MODELS=SECRET, PORT=SECRET)
    assert len(found) == 4
    assert SECRET not in "".join(found)
    broken = yml(tmp_path, f"auth: {{signing_key: '{SECRET}', : [}}")
    assert SECRET not in "".join(faults(broken))
    settings = load(environ={"OPENAI_API_KEY": SECRET})
    assert SECRET not in repr(settings)
    assert settings.providers.openai.api_key.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("name", "value", "variable"),
    [
        ("workers", "4", "WEB_CONCURRENCY"),
    ],
)
def test_what_has_no_effect_yet_is_refused(name: str, value: str, variable: str) -> None:
    (fault,) = faults(None, **{variable: value})
    assert f"`{name}` is not supported yet" in fault
    assert variable in fault


def test_h11_71_tls_without_a_key_file_is_refused(tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    cert.write_text("x", encoding="utf-8")
    environ = {"AIGW_FASTAPI__TLS__ENABLED": "true", "AIGW_FASTAPI__TLS__CERT_FILE": str(cert)}
    with pytest.raises(SettingsError) as caught:
        load(environ=environ)
    (fault,) = caught.value.faults
    assert fault.startswith("http.tls: when TLS is enabled, `key_file` must name an existing file")
    environ["AIGW_FASTAPI__TLS__KEY_FILE"] = str(cert)
    assert load(environ=environ).http.tls.enabled


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("a: 1\na: 2\n", "the key `a` is there twice", 2),
        ("a: &x 1\nb: *x\n", "aliases are not allowed", 2),
        ("[" * 40 + "]" * 40, "nested deeper than 32 levels", 1),
        ("1: a\n", "a key must be text", 1),
        ("a: !!python/object:os.system x\n", "could not determine a constructor", 1),
        ("x" * 1_000_001, "the file is longer than 1000000 characters", 1),
        ("a: 1\n---\nb: 1\n", "but found another document", 2),
    ],
)
def test_a_file_that_is_refused(text: str, reason: str, line: int) -> None:
    with pytest.raises(settings_yaml.YamlFault) as caught:
        settings_yaml.read(text)
    assert reason in caught.value.reason
    assert caught.value.line == line


def test_a_missing_file_names_who_asked_for_it(tmp_path: Path) -> None:
    path = tmp_path / "none.yml"
    assert faults(path) == (f"{path}: no such file, or not readable (flag --config)",)
    assert faults(ISTHMUS_CONFIG=str(path))[0].endswith("(variable ISTHMUS_CONFIG)")
    assert load(yml(tmp_path, "# nothing\n"), environ={}) == Settings()


def test_files_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / ".env").write_text("AIGW_FASTAPI__API_PORT=1\nPORT=7\n", encoding="utf-8")
    yml(inner, "data_dir: here\n")
    monkeypatch.chdir(inner)
    monkeypatch.setenv("AIGW_FASTAPI__API_PORT", "2")
    monkeypatch.delenv("PORT", raising=False)
    settings, sources = read()
    assert (settings.http.port, settings.grpc.port) == (2, 7)
    assert settings.data_dir == Path("here")
    assert sources["grpc.port"] == f"variable PORT in {tmp_path / '.env'}"


def test_dotenv_texts() -> None:
    text = (
        "# note\r\nexport A=1 # why\nB='x # y'\nC=\"-----BEGIN\nline\\n-----\"\n D = a b \nE=\n"
        'F="q\\"q"\nnot an assignment\nA_2="open\n'
    )
    assert dotenv.read(text) == {
        "A": "1",
        "B": "x # y",
        "C": "-----BEGIN\nline\n-----",
        "D": "a b",
        "E": "",
        "F": 'q"q',
        "A_2": '"open',
    }


OIDC = {"ISTHMUS_INSTANCE__OIDC__ISSUER": "https://id.example.test"}


def test_where_people_sign_in_a_runner_on_this_machine_must_be_asked_for() -> None:
    with pytest.raises(SettingsError, match=r"runners\.kind"):
        load(environ=OIDC)
    assert load(environ=OIDC | {"ISTHMUS_RUNNERS__KIND": "subprocess"}).runners.kind == "subprocess"
    assert load(environ=OIDC | {"ISTHMUS_RUNNERS__KIND": "none"}).runners.kind == "none"
    assert load(environ={}).runners.kind == "subprocess"


def test_where_people_sign_in_projects_do_not_register_themselves_unasked() -> None:
    none = OIDC | {"ISTHMUS_RUNNERS__KIND": "none"}
    assert load(environ={}).instance.registers
    assert not load(environ=none).instance.registers
    asked = none | {"ISTHMUS_INSTANCE__REGISTER_PROJECTS": "true"}
    assert load(environ=asked).instance.registers

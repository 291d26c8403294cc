"""Two trees of settings, compared and mixed."""

from pydantic import SecretStr

from isthmus.settings import Settings, load
from isthmus.settings_changes import changed, covered, mixed


def settings(**environ: str) -> Settings:
    return load(environ={f"ISTHMUS_{name}": value for name, value in environ.items()})


def test_what_differs_is_named_by_its_path_and_secrets_count() -> None:
    old = settings(PROVIDERS__OPENAI__API_KEY="one", HTTP__PORT="1")
    new = settings(PROVIDERS__OPENAI__API_KEY="two", HTTP__PORT="1", LOGGING__LEVEL="debug")
    assert changed(old, new) == ("providers.openai.api_key", "logging.level")
    assert changed(old, old) == ()


def test_a_path_is_covered_by_itself_and_by_what_it_is_in() -> None:
    assert covered("models.mock", ("models",))
    assert covered("models.mock", ("models.mock",))
    assert not covered("models_of.mock", ("models",))
    assert not covered("models", ("models.mock",))


def test_a_mix_has_the_new_values_of_what_is_taken_alone() -> None:
    old = settings(HTTP__PORT="1")
    new = settings(HTTP__PORT="2", PROVIDERS__OPENAI__API_KEY="two", LOGGING__LEVEL="ERROR")
    found = mixed(old, new, lambda path: path.startswith("providers."))
    assert found.providers.openai.api_key == SecretStr("two")
    assert (found.http.port, found.logging.level) == (1, "INFO")
    assert old.providers.openai.api_key == SecretStr("")

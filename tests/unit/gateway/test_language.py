"""Which language a file is in."""

from importlib.resources import files

import pytest

from isthmus.gateway.language import load_languages, parse_languages

LANGUAGES = load_languages(files("isthmus") / "library" / "languages.yml")


@pytest.mark.parametrize(
    ("file_name", "editor", "id_", "name"),
    [
        ("a.py", "", "python", "python"),
        ("src/a.tsx", "typescriptreact", "ts", "typescriptreact"),
        ("a.cs", "", "csharp", "c_sharp"),
        ("a.C", "", "cpp", "cpp"),
        ("a.c", "", "c", "c"),
        ("a.R", "", "r", "r"),
        ("a.d.ts", "", "ts", "typescript"),
        ("Dockerfile", "", "", ""),
        ("Dockerfile", "dockerfile", "dockerfile", "dockerfile"),
        ("a.unknown", "", "", "unknown"),
        ("a.unknown", "shellscript", "bash", "shellscript"),
        ("a", "Klingon", "", "klingon"),
        ("a.py", "ruby", "python", "ruby"),
        ("dir.py/Makefile", "", "", ""),
        ("dir\\a.go", "", "go", "go"),
        (".py", "", "", ""),
    ],
)
def test_the_extension_comes_before_the_editor(
    file_name: str, editor: str, id_: str, name: str
) -> None:
    language = LANGUAGES.of(file_name, editor)
    assert (language.id, language.name) == (id_, name)


def test_labels_hold_only_what_the_table_knows() -> None:
    language = LANGUAGES.of("a.py-secret", "my own editor")
    assert (language.extension, language.editor) == ("", "")
    assert LANGUAGES.of("a.py", "python").extension == "py"


@pytest.mark.parametrize(
    "text",
    [
        "a: {extensions: [x], editors: []}\nb: {extensions: [x], editors: []}",
        "a: {extensions: [x]}",
        "a: {extensions: [x], editors: [], colour: red}",
        "a: [",
    ],
)
def test_a_faulty_table_fails_at_start(text: str) -> None:
    with pytest.raises(ValueError, match=r"languages\.yml"):
        parse_languages(text)

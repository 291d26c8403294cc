"""Which language a file is in."""

from importlib.resources import files

import pytest

from isthmus.gateway.language import parse_languages

LANGUAGES = parse_languages(
    (files("isthmus") / "library" / "languages.yml").read_text(encoding="utf-8")
)


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


@pytest.mark.parametrize(
    ("file_name", "head", "id_", "name"),
    [
        ("run", "#!/usr/bin/env python3\nx = 1", "python", "python"),
        ("run", "#!/usr/bin/env -S node --harmony\n", "js", "javascript"),
        ("run", "#! /bin/sh -e\n", "bash", "bash"),
        ("run", "#!/usr/bin/python3.11\n", "python", "python"),
        ("run.cgi", "#!/usr/bin/perl -w\n", "perl", "cgi"),
        ("run", "# -*- mode: ruby; x: y -*-\n", "ruby", "ruby"),
        ("run", "/* -*- C++ -*- */", "cpp", "cpp"),
        ("run", "# vim: set ts=2 ft=sh :\n", "bash", "bash"),
        ("run", "#!/usr/bin/env klingon\n", "", ""),
        ("run", "\n#!/bin/sh\n", "", ""),
        ("run", "", "", ""),
        ("run", "x" * 2_000 + "vim: ft=sh", "", ""),
    ],
)
def test_the_first_lines_tell_when_nothing_else_does(
    file_name: str, head: str, id_: str, name: str
) -> None:
    language = LANGUAGES.by_content(LANGUAGES.of(file_name, ""), head)
    assert (language.id, language.name) == (id_, name)
    assert language.extension == ""


@pytest.mark.parametrize(
    "text", ["#!" + "/a" * 5_000, "-*-" * 3_000, "vi: ft" * 2_000, "#! " * 900]
)
def test_hostile_first_lines_are_read_all_the_same(text: str) -> None:
    assert LANGUAGES.by_content(LANGUAGES.of("run", ""), text).id == ""


def test_grammar_and_comments_come_with_the_language() -> None:
    assert [LANGUAGES.of(name, "").grammar for name in ("a.tsx", "a.ts", "a.cs", "a")] == [
        *("tsx", "typescript", "c_sharp", ""),
    ]
    assert LANGUAGES.of("a.go", "").comments == "slash"
    assert LANGUAGES.of("a", "python").comments == "hash"


def test_labels_hold_only_what_the_table_knows() -> None:
    language = LANGUAGES.of("a.py-secret", "my own editor")
    assert (language.extension, language.editor) == ("", "")
    assert LANGUAGES.of("a.py", "python").extension == "py"


@pytest.mark.parametrize(
    "text",
    [
        "a: {extensions: [x], editors: []}\nb: {extensions: [x], editors: []}",
        "a: {extensions: [x]}",
        "a: {extensions: [x], editors: [], comments: rem}",
        "a: {extensions: [x], editors: [], colour: red}",
        "a: [",
    ],
)
def test_a_faulty_table_fails_at_start(text: str) -> None:
    with pytest.raises(ValueError, match=r"languages\.yml"):
        parse_languages(text)

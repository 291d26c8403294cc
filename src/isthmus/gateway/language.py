"""Which language a file is in: by its extension, by what the editor says, by its first lines."""

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from isthmus.core.notation import decode

Comments: TypeAlias = Literal[
    "",
    "slash",
    "hash",
    "slash_hash",
    "dash",
    "semicolon",
    "percent",
    "paren",
    "bang",
    "quote",
]
"""How a language writes comments; "" when nobody told."""
_HEAD_CHARS = 1_000
_SHEBANG = re.compile(r"#![ \t]*(?:\S*/)?([^/\s]+)(?!\S)(?:[ \t]+(?:-\S+[ \t]+)*([^-\s]\S*))?")
_MODELINE = re.compile(
    r"-\*-[ \t]*(?:mode:[ \t]*)?([\w+-]{1,40})[ \t]*(?:;[^\n]*)?-\*-"
    r"|\b(?:vim?|ex):[^\n]{0,100}?\b(?:ft|filetype|syntax)=([\w+-]{1,40})"
)


class Language(Struct, frozen=True, gc=False):
    """`id` is the language table's, "" when unknown; `name` is for prompts, "" when nothing tells.

    `extension` and `editor` are the given ones when the table knows them, else "": safe as labels.
    `grammar` is what syntax trees are made by.
    """

    id: str
    name: str
    extension: str
    editor: str
    grammar: str = ""
    comments: Comments = ""


class _Entry(Struct, frozen=True, forbid_unknown_fields=True):
    extensions: tuple[str, ...]
    editors: tuple[str, ...]
    grammar: str = ""
    comments: Comments = ""
    interpreters: tuple[str, ...] = ()


class Languages:
    """The language table, indexed every way."""

    def __init__(self, entries: Mapping[str, _Entry]) -> None:
        self._by_extension: dict[str, str] = {}
        self._by_editor: dict[str, str] = {}
        self._by_interpreter: dict[str, str] = {}
        self._entries = {"": _Entry((), ())} | dict(entries)
        for id_, entry in entries.items():
            _index(self._by_extension, entry.extensions, id_)
            _index(self._by_editor, entry.editors, id_)
            _index(self._by_interpreter, entry.interpreters, id_)
        # Known extensions with an editor that is known or silent: no more than the table allows.
        self._known: dict[tuple[str, str], Language] = {}

    def of(self, file_name: str, editor: str) -> Language:
        """The language of a file. The extension is the last suffix, case-sensitive."""
        stem, _, extension = file_name.rpartition(".")
        if "/" in file_name or "\\" in file_name:
            base = file_name.replace("\\", "/").rsplit("/", 1)[-1]
            stem, _, extension = base.rpartition(".")
        key = (extension, editor)
        known = self._known.get(key) if stem else None
        if known is None:
            known = self._read(extension if stem else "", editor)
            if known.extension and (known.editor or not editor):
                self._known[key] = known
        return known

    def by_content(self, unknown: Language, text: str) -> Language:
        """The same, with what the first lines tell: a program to run the file, or an editor's line.

        Only the first thousand characters are looked at.
        """
        head = text[:_HEAD_CHARS]
        shebang, modeline = _SHEBANG.match(head), _MODELINE.search(head)
        id_ = ""
        if shebang is not None:
            program = shebang[2] if shebang[1] == "env" and shebang[2] else shebang[1]
            stem = re.sub(r"[\d.]+$", "", program)
            id_ = self._by_interpreter.get(program) or self._by_interpreter.get(stem, "")
        if not id_ and modeline is not None:
            id_ = self._named((modeline[1] or modeline[2]).lower())
        return self._language(id_, unknown.name, "", "") if id_ else unknown

    def _named(self, name: str) -> str:
        if name in self._entries:
            return name
        return self._by_editor.get(name) or self._by_extension.get(name, "")

    def _read(self, extension: str, editor: str) -> Language:
        by_extension = self._by_extension.get(extension, "")
        by_editor = self._by_editor.get(editor, "")
        name = editor or self._grammar(by_extension) or extension
        return self._language(
            by_extension or by_editor,
            name,
            extension if by_extension else "",
            editor if by_editor else "",
        )

    def _language(self, id_: str, name: str, extension: str, editor: str) -> Language:
        grammar = "tsx" if "tsx" in extension else self._grammar(id_)
        return Language(
            id=id_.lower(),
            name=(name or grammar).lower(),
            extension=extension,
            editor=editor,
            grammar=grammar,
            comments=self._entries[id_].comments,
        )

    def _grammar(self, id_: str) -> str:
        return self._entries[id_].grammar or id_


def parse_languages(text: str) -> Languages:
    """The table from YAML text. Raises ValueError naming the fault."""
    try:
        return Languages(decode(text, dict[str, _Entry]))
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ValueError(f"languages.yml: {error}") from error


def _index(index: dict[str, str], keys: tuple[str, ...], id_: str) -> None:
    for key in keys:
        if key in index:
            raise ValueError(f"languages.yml: {key!r} belongs to {index[key]} and to {id_}")
        index[key] = id_

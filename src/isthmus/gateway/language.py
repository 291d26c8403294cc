"""Which language a file is in: by its extension, else by what the editor says."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable

import msgspec


@dataclass(frozen=True, slots=True)
class Language:
    """`id` is the language table's, "" when unknown; `name` is for prompts, "" when nothing tells.

    `extension` and `editor` are the given ones when the table knows them, else "": safe as labels.
    """

    id: str
    name: str
    extension: str
    editor: str


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    extensions: tuple[str, ...]
    editors: tuple[str, ...]
    grammar: str = ""


class Languages:
    """The language table, indexed both ways."""

    def __init__(self, entries: Mapping[str, _Entry]) -> None:
        self._by_extension: dict[str, str] = {}
        self._by_editor: dict[str, str] = {}
        self._grammar: dict[str, str] = {}
        for id_, entry in entries.items():
            self._grammar[id_] = entry.grammar or id_
            _index(self._by_extension, entry.extensions, id_)
            _index(self._by_editor, entry.editors, id_)
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

    def _read(self, extension: str, editor: str) -> Language:
        by_extension = self._by_extension.get(extension, "")
        by_editor = self._by_editor.get(editor, "")
        name = editor or self._grammar.get(by_extension, "") or extension
        return Language(
            id=(by_extension or by_editor).lower(),
            name=name.lower(),
            extension=extension if by_extension else "",
            editor=editor if by_editor else "",
        )


def parse_languages(text: str) -> Languages:
    """The table from YAML text. Raises ValueError naming the fault."""
    try:
        return Languages(msgspec.yaml.decode(text, type=dict[str, _Entry]))
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ValueError(f"languages.yml: {error}") from error


def load_languages(path: Traversable) -> Languages:
    """The table from its file, read now. Raises ValueError naming the fault."""
    return parse_languages(path.read_text(encoding="utf-8"))


def _index(index: dict[str, str], keys: tuple[str, ...], id_: str) -> None:
    for key in keys:
        if key in index:
            raise ValueError(f"languages.yml: {key!r} belongs to {index[key]} and to {id_}")
        index[key] = id_

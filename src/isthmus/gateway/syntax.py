"""Parsers of code, by tree-sitter, where it and a grammar are installed; loaded at first use."""

import asyncio
import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Parser

GRAMMARS: Mapping[str, tuple[str, str]] = {
    name: (f"tree_sitter_{name}", "language")
    for name in (
        *("bash", "c", "c_sharp", "cpp", "go", "java", "javascript"),
        *("kotlin", "python", "ruby", "rust", "scala"),
    )
} | {
    "php": ("tree_sitter_php", "language_php"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
}
"""Grammar -> the module that carries it, and its function there. Nothing is ever fetched."""


class Syntax:
    """Parsers by grammar, one of each; for one event loop."""

    def __init__(self) -> None:
        self._parsers: dict[str, Parser | None] = {}

    def ready(self, grammar: str) -> bool:
        """Whether `parser` knows already; else `prepare` must run first."""
        return grammar in self._parsers or grammar not in GRAMMARS

    def parser(self, grammar: str) -> "Parser | None":
        """The grammar's parser; None when it is not installed, or not prepared yet."""
        return self._parsers.get(grammar)

    async def prepare(self, grammar: str) -> None:
        """Load a grammar, off the loop: it reads files. Keeps in mind when there is none."""
        self._parsers[grammar] = await asyncio.to_thread(load, grammar)


def load(grammar: str) -> "Parser | None":
    """A parser, or None when tree-sitter or the grammar is not installed, or they do not fit."""
    module_name, function_name = GRAMMARS[grammar]
    try:
        tree_sitter = importlib.import_module("tree_sitter")
        grammar_of: Callable[[], object] = getattr(
            importlib.import_module(module_name), function_name
        )
        return tree_sitter.Parser(tree_sitter.Language(grammar_of()))
    except (ImportError, AttributeError, ValueError):
        return None

"""Reads YAML strictly: safe types, no aliases, no key twice, bounded, and the line of every key."""

from dataclasses import dataclass

import yaml

LIMIT_CHARS = 1_000_000
LIMIT_DEPTH = 32
_TEXT_TAG = "tag:yaml.org,2002:str"


class YamlFault(Exception):
    """A text that is refused. `line` counts from 1; `reason` never repeats a value of the text."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Document:
    """A document: its value, and the line of each mapping key by the path that leads to it."""

    value: object
    lines: dict[tuple[str, ...], int]


def read(text: str) -> Document:
    """The one document in `text`; its value is None when there is none. Raises YamlFault."""
    if len(text) > LIMIT_CHARS:
        raise YamlFault(1, f"the file is longer than {LIMIT_CHARS} characters")
    try:
        _check_events(text)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return Document(None, {})
        lines: dict[tuple[str, ...], int] = {}
        _check_keys(node, (), lines)
        return Document(loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise YamlFault(mark.line + 1 if mark else 1, error.problem or "not YAML") from None
    except (yaml.YAMLError, ValueError):
        raise YamlFault(1, "holds something that cannot be read") from None


def _check_events(text: str) -> None:
    """Refuse what would make reading costly, before any tree is built."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise YamlFault(line, "aliases are not allowed")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > LIMIT_DEPTH:
                raise YamlFault(line, f"nested deeper than {LIMIT_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_keys(node: yaml.Node, path: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> None:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _check_keys(item, (*path, str(index)), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT_TAG:
                raise YamlFault(line, "a key must be text")
            here = (*path, str(key.value))
            if here in lines:
                raise YamlFault(line, f"the key `{key.value}` is there twice")
            lines[here] = line
            _check_keys(value, here, lines)

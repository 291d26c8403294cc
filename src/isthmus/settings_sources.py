"""Layers of settings over a tree of pydantic models: files, variables, flags; and their faults.

Pure but for files that `Reading` is told of. No fault repeats a value: it may be a secret.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, get_args, get_origin

import msgspec
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from isthmus.settings_names import (
    INJECTED_NAME,
    OPERATOR_NAMES,
    OTHER_NAMES,
    PREFIX,
    SWITCHES,
)
from isthmus.settings_secrets import SUFFIX, read_secret

Tree = TypeVar("Tree", bound=BaseModel)
_INJECTED = re.compile(INJECTED_NAME)
_NAMED = re.compile(r"`([a-z_.]+)`")
_ON = frozenset({"1", "true", "yes", "on", "t", "y"})
_OFF = frozenset({"0", "false", "no", "off", "f", "n"})
_Given = dict[str, tuple[str, str]]
_WORDS = (("Value error, ", ""), ("Input should", "must"), ("Field required", "is required"))


class SettingsError(Exception):
    """Settings that cannot be used: one line a fault, each naming its key and where it was set."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Leaf:
    """One setting. `path` is dotted, such as `http.port`; `info` knows default and description."""

    path: str
    info: FieldInfo

    @property
    def variable(self) -> str:
        """Its own variable, such as `ISTHMUS_HTTP__PORT`."""
        return PREFIX + self.path.upper().replace(".", "__")

    @property
    def operator_names(self) -> tuple[str, ...]:
        """The operators' variables that set it too, the weakest first."""
        switches = tuple(name for name, path, *_ in SWITCHES if path == self.path)
        return switches + tuple(name for name, path in OPERATOR_NAMES if path == self.path)

    @property
    def secret(self) -> bool:
        """Whether its value may be in no log; it may stand in a file of its own."""
        kind = self.info.annotation
        return SecretStr in (kind, *get_args(kind))

    def decode(self, value: object) -> object:
        """`value` with text turned into what lists and maps need. Raises ValueError."""
        if not isinstance(value, str):
            return value
        kind = get_origin(self.info.annotation)
        if kind is dict or (kind is tuple and value.lstrip().startswith("[")):
            try:
                return msgspec.json.decode(value or "{}")
            except (msgspec.DecodeError, RecursionError):
                raise ValueError("must be JSON") from None
        if kind is tuple:
            return tuple(part.strip() for part in value.split(",") if part.strip())
        if value == "" and type(None) in get_args(self.info.annotation):
            return None
        return value


def leaves(tree: type[BaseModel], prefix: str = "") -> Iterator[Leaf]:
    """Every setting of a tree, in order."""
    for name, info in tree.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from leaves(kind, f"{prefix}{name}.")
        else:
            yield Leaf(prefix + name, info)


def by_variable(tree: type[BaseModel]) -> dict[str, Leaf]:
    """Every setting by the names of its variables, the operators' and its own."""
    found = {leaf.path: leaf for leaf in leaves(tree)}
    # A small tree has no place for most of the operators' names.
    operators = {name: found[path] for name, path in OPERATOR_NAMES if path in found}
    return operators | {leaf.variable: leaf for leaf in found.values()}


def secret_behind(name: str, known: Mapping[str, Leaf]) -> str:
    """The secret's variable whose value a file gives that `name` names; empty when it is none."""
    secret = known.get(name.removesuffix(SUFFIX)) if name.endswith(SUFFIX) else None
    # The path of a file may be a setting itself.
    return name.removesuffix(SUFFIX) if secret and secret.secret and name not in known else ""


class Reading(Generic[Tree]):
    """Collects layers, the weakest first; `finish` turns them into the tree or one SettingsError.

    `sources` tells for each path that was set where its value came from.
    """

    def __init__(self, tree: type[Tree]) -> None:
        self.sources: dict[str, str] = {}
        self._tree = tree
        self._known = by_variable(tree)
        self._leaves = {leaf.path: leaf for leaf in leaves(tree)}
        self._groups = {
            ".".join(parts[:count])
            for parts in (path.split(".") for path in self._leaves)
            for count in range(len(parts))
        }
        self._values: dict[str, object] = {}
        self._wrong: dict[str, str] = {}
        self._faults: list[str] = []

    def file(self, path: Path, source: str) -> None:
        """Add a YAML file; `source` says who named it. Raises SettingsError when it is no YAML."""
        from isthmus import settings_yaml  # noqa: PLC0415 - it takes time, and most have no file

        try:
            with path.open(encoding="utf-8") as stream:
                document = settings_yaml.read(stream.read(settings_yaml.LIMIT_CHARS + 1))
        except settings_yaml.YamlFault as fault:
            raise SettingsError(f"{path}: {fault.reason} ({path}, line {fault.line})") from None
        except (OSError, UnicodeDecodeError):
            raise SettingsError(f"{path}: no such file, or not readable ({source})") from None
        if document.value is None:
            return
        for keys, value in _branches(document.value, (), self._groups):
            key = ".".join(keys)
            where = f"{path}, line {document.lines.get(keys, 1)}"
            if key in self._leaves:
                self._put(self._leaves[key], value, where)
            elif key in self._groups:
                self._faults.append(f"{key or path}: must be a group of settings ({where})")
            else:
                self._faults.append(f"{key}: unknown key{_near(key, self._leaves)} ({where})")

    def variables(self, layers: Iterable[tuple[Mapping[str, str], str]]) -> None:
        """Add variables, each layer with a remark on its place; case does not matter.

        Operators' names come before our own, whatever the layer; a later layer hides an earlier
        one's variable.
        """
        given: _Given = {}
        for variables, place in layers:
            for name, value in variables.items():
                given[name.upper()] = (value, f"variable {name}{place}")
        self._secrets(given)
        self._switches(given)
        for name, path in OPERATOR_NAMES:
            if name in given:
                self._put(self._leaves[path], *given[name])
        for name, (value, source) in given.items():
            if not name.startswith(PREFIX):
                continue
            if name in self._known:
                self._put(self._known[name], value, source)
            elif not _foreign(name, value):
                own = (known for known in self._known if known.startswith(PREFIX))
                near = _near(name, own)
                self._faults.append(f"{name}: unknown variable{near} ({source})")

    def flags(self, flags: Mapping[str, object]) -> None:
        """Add values by path; None means that the flag was not given."""
        for path, value in flags.items():
            if value is not None:
                name = path.replace(".", "-").replace("_", "-")
                self._put(self._leaves[path], value, f"flag --{name}")

    def finish(self) -> Tree:
        """The validated tree. Raises SettingsError with every fault."""
        faults = [*self._faults, *self._wrong.values()]
        values: dict[str, Any] = {}
        for path, value in self._values.items():
            *groups, name = path.split(".")
            branch = values
            for group in groups:
                branch = branch.setdefault(group, {})
            branch[name] = value
        try:
            settings = self._tree.model_validate(values)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            faults += [self._fault(item["loc"], item["msg"]) for item in found]
            raise SettingsError(*faults) from None
        if faults:
            raise SettingsError(*faults)
        return settings

    def _secrets(self, given: _Given) -> None:
        """Put what stands in files in the place of the variables that name the files."""
        named = [(name, secret_behind(name, self._known)) for name in given]
        for file, name in [pair for pair in named if pair[1]]:
            path, source = given.pop(file)
            if not path:
                continue
            if given.get(name, ("",))[0]:
                both = f"{given[name][1]}, {source}"
                self._faults.append(f"{name}: give it or {file}, not both ({both})")
                continue
            try:
                given[name] = (read_secret(path), f"file of {source}")
            except ValueError as error:
                self._faults.append(f"{file}: {error} ({source})")

    def _switches(self, given: _Given) -> None:
        """Take out of lists what a variable switches off."""
        left: dict[str, list[str]] = {}
        sources: dict[str, list[str]] = {}
        for name, path, item, when in SWITCHES:
            text, source = given.get(name, ("", ""))
            said = text.strip().lower()
            if said in _ON | _OFF:
                items = left.setdefault(path, list(self._leaves[path].info.default))
                sources.setdefault(path, []).append(source)
                if (said in _ON) is when:
                    items.remove(item)
            elif said:
                self._faults.append(f"{name}: must be a boolean ({source})")
        for path, items in left.items():
            self._put(self._leaves[path], tuple(items), ", ".join(sources[path]))

    def _put(self, leaf: Leaf, value: object, source: str) -> None:
        """A later value replaces an earlier one, a wrong one included."""
        self.sources[leaf.path] = source
        self._wrong.pop(leaf.path, None)
        try:
            self._values[leaf.path] = leaf.decode(value)
        except ValueError as error:
            self._values.pop(leaf.path, None)
            self._wrong[leaf.path] = f"{leaf.path}: {error} ({source})"

    def _fault(self, location: tuple[int | str, ...], message: str) -> str:
        """One line for a fault that validation found at a leaf, inside one, or across a group."""
        parts = [str(part) for part in location]
        path = ".".join(parts)
        while parts and path not in self._leaves and path not in self._groups:
            path = ".".join(parts := parts[:-1])
        for old, new in _WORDS:
            message = message.replace(old, new)
        if path in self._leaves:
            return f"{path}: {message} ({self.sources.get(path, 'default')})"
        prefix = f"{path}." if path else ""
        named = [prefix + name for name in _NAMED.findall(message)]
        named += [name for name in self.sources if prefix and name.startswith(prefix)]
        places = dict.fromkeys(self.sources[name] for name in named if name in self.sources)
        return f"{path or 'settings'}: {message} ({', '.join(places) or 'default'})"


def _branches(
    value: object, keys: tuple[str, ...], groups: Collection[str]
) -> Iterator[tuple[tuple[str, ...], object]]:
    """What a file sets: paths of leaves, of unknown keys, and of groups that are not groups."""
    if ".".join(keys) not in groups:
        yield keys, value
    elif isinstance(value, Mapping):
        for name, inner in cast("Mapping[str, object]", value).items():
            yield from _branches(inner, (*keys, name), groups)
    elif value is not None:
        yield keys, value


def _near(name: str, known: Iterable[str]) -> str:
    match = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean `{match[0]}`?" if match else ""


def _foreign(name: str, value: str) -> bool:
    """Whether a variable with our prefix is none of the tree's business."""
    if name in OTHER_NAMES:
        return True
    if _INJECTED.fullmatch(name) is None:
        return False
    return not name.endswith("_PORT") or value.startswith(("tcp://", "udp://", "sctp://"))

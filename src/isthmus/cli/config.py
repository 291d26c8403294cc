"""`isthmus config check | show | docs`: are the settings usable, what is in force, what exists."""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, SecretStr

from isthmus.redaction.rules import redact
from isthmus.settings import Settings, read
from isthmus.settings_sources import Leaf, leaves

MASK = "**********"
_SECRET = re.compile(r"(?i)key|secret|token$|password|authorization")
_OF = {tuple: " of lists", dict: " of maps"}
_KINDS = {bool: "boolean", int: "integer", float: "number", SecretStr: "secret", Path: "path"}


def add(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",  # pyright: ignore[reportPrivateUsage] - argparse has no public name for it
) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    parser = subparsers.add_parser("config", help="check or show the settings")
    parser.add_argument("action", choices=("check", "show", "docs"), metavar="check|show")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print what was asked for. That there are `settings` at all means that they can be used."""
    if args.action == "docs":
        sys.stdout.write(page())
    elif args.action == "check":
        sys.stdout.write("ok\n")
    else:
        _, sources = read(cast("Path | None", args.config))
        sys.stdout.write("\n".join(_tree(settings, sources)))
    return 0


def page() -> str:
    """The reference page of every setting."""
    rows = [
        f"| `{leaf.path}` | `{leaf.variable}` | {_names(leaf)} | {kind_of(leaf)} "
        f"| `{default_of(leaf)}` | {leaf.info.description} |"
        for leaf in leaves(Settings)
    ]
    return _INTRODUCTION + "\n".join(rows) + "\n"


def kind_of(leaf: Leaf) -> str:
    """The type of a setting, in words."""
    kind: Any = leaf.info.annotation
    options = [option for option in get_args(kind) if option is not type(None)]
    if len(options) < len(get_args(kind)):
        kind = options[0]
    if get_origin(kind) is dict:
        return f"map{_OF.get(get_origin(get_args(kind)[1]), '')} (JSON in a variable)"
    if get_origin(kind) is tuple:
        return "list (commas or JSON in a variable)"
    if options and all(isinstance(option, str) for option in options):
        return ", ".join(str(option) for option in options)
    return _KINDS.get(kind, "text")


def default_of(leaf: Leaf) -> str:
    """The default of a setting, as YAML would have it."""
    return _text(leaf.info.default)


def _names(leaf: Leaf) -> str:
    return ", ".join(f"`{name}`" for name in leaf.operator_names)


def _tree(
    group: BaseModel, sources: Mapping[str, str], prefix: str = "", indent: str = ""
) -> list[str]:
    lines: list[str] = []
    for name in type(group).model_fields:
        value: object = getattr(group, name)
        path = prefix + name
        if isinstance(value, BaseModel):
            lines.append(f"{indent}{name}:")
            lines += _tree(value, sources, f"{path}.", f"{indent}  ")
        else:
            source = f"  # {sources[path]}" if path in sources else ""
            lines.append(f"{indent}{name}: {_text(value)}{source}")
    return lines if indent else [*lines, ""]


def _text(value: object) -> str:
    """A value on one line of YAML; what is secret, and a password in an address, is masked."""
    plain: object = value
    if isinstance(value, SecretStr):
        plain = MASK if value.get_secret_value() else ""
    elif isinstance(value, Path):
        plain = str(value)
    elif isinstance(value, tuple | dict):
        plain = _plain(cast("object", value))
    if isinstance(plain, str):
        plain = redact(plain)
    text = yaml.safe_dump(plain, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _plain(value: object, name: str = "") -> object:
    """Nested values as YAML takes them; what a key calls secret is masked."""
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(exclude_none=True))
    if isinstance(value, dict):
        held = cast("dict[str, object]", value)
        return {key: _plain(item, key) for key, item in held.items()}
    if isinstance(value, tuple | list):
        return [_plain(item, name) for item in cast("tuple[object, ...]", value)]
    return MASK if value and _SECRET.search(name) else value


_INTRODUCTION = """# Settings

One tree for both listeners. A setting is given, the later one wins, by its default, by the YAML
file (`--config FILE`, else `ISTHMUS_CONFIG`, else `isthmus.yml` in the working directory), by an
operators' variable, by its own variable, or by a flag. In the file the dots of a path are nesting:

```yaml
http:
  port: 5052
```

Variables may also stand in the nearest `.env` file upward of the working directory; those of the
process win over it. Booleans are `1/0`, `true/false`, `yes/no`, `on/off`, `t/f`, `y/n`. Where some
operators' variables set one path, the last one named wins. Unknown keys of the file and unknown
variables that begin with `ISTHMUS_` are errors; `isthmus config check` names every fault with its
source, `isthmus config show` prints what is in force, secrets masked.

| Setting | Variable | Operators' variables | Type | Default | Meaning |
|---|---|---|---|---|---|
"""

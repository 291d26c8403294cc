"""`isthmus config check | show | diff | docs`: are the settings usable, what do they say, what is
in force, what exists.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel, SecretStr

from isthmus.running import Snapshot, differences, shown, snapshots
from isthmus.settings import Settings, load, read
from isthmus.settings_sources import Leaf, leaves

_OF = {tuple: " of lists", dict: " of maps"}
_KINDS = {bool: "boolean", int: "integer", float: "number", SecretStr: "secret", Path: "path"}


def add(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",  # pyright: ignore[reportPrivateUsage] - argparse has no public name for it
) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    parser = subparsers.add_parser("config", help="check, show or compare the settings")
    actions = ("check", "show", "diff", "docs")
    parser.add_argument("action", choices=actions, metavar="check|show|diff")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print what was asked for. That there are `settings` at all means that they can be used."""
    if args.action == "docs":
        sys.stdout.write(page())
    elif args.action == "check":
        sys.stdout.write("ok\n")
    elif args.action == "diff":
        return _diff(cast("Path | None", args.config), settings)
    else:
        _, sources = read(cast("Path | None", args.config))
        sys.stdout.write("\n".join(_tree(settings, sources)))
    return 0


def _diff(file: Path | None, settings: Settings) -> int:
    """0: the servers that run go by what is written; 1: one does not; 2: none runs."""
    running = list(snapshots(settings.data_dir))
    if not running:
        sys.stderr.write(f"isthmus: no server runs on the data in {settings.data_dir}\n")
        return 2
    lines = [line for one in running for line in _compared(one, file)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if lines else 0


def _compared(one: Snapshot, file: Path | None) -> list[str]:
    """Lines of what would change. A server's own file and flags count where none is given here."""
    if file is None and one.file is not None:
        file = Path(one.file)
    lines: list[str] = []
    for each in differences(one, load(file, one.flags)):
        masked = each.old == each.new
        values = "a secret in it changed" if masked else f"{each.old} -> {each.new}"
        how = "needs a restart" if each.restart else "taken when it is read again"
        lines.append(f"{each.path}: {values}  # {how}")
    return lines


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
    return shown(leaf.info.default)


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
            lines.append(f"{indent}{name}: {shown(value)}{source}")
    return lines if indent else [*lines, ""]


_INTRODUCTION = """# Settings

One tree for both listeners. A setting is given, the later one wins, by its default, by the YAML
file (`--config FILE`, else `ISTHMUS_CONFIG`, else `isthmus.yml` in the working directory), by an
operators' variable, by its own variable, or by a flag. In the file the dots of a path are nesting:

```yaml
http:
  port: 5052
```

Variables may also stand in the nearest `.env` file upward of the working directory; those of the
process win over it. A secret may stand in a file of its own: `NAME_FILE` with its path, for each
`NAME` of its variables that has no such name already, such as
`DUO_WORKFLOW_SELF_SIGNED_JWT__SIGNING_KEY_FILE=/run/secrets/jwt.key`. Booleans are `1/0`,
`true/false`, `yes/no`, `on/off`, `t/f`, `y/n`. Where some operators' variables set one path, the
last one named wins. Unknown keys of the file and unknown variables that begin with `ISTHMUS_` are
errors; `isthmus config check` names every fault with its source, `isthmus config show` prints what
is in force, secrets masked. A running server reads them again on SIGHUP and when a file has
changed; `isthmus config diff` says what that would change.

| Setting | Variable | Operators' variables | Type | Default | Meaning |
|---|---|---|---|---|---|
"""

"""`isthmus prompts list | check | render`: what the library holds, and what a model is told."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

import msgspec

from isthmus.app.library import LIBRARY
from isthmus.auth.scopes import UNIT_PRIMITIVES
from isthmus.core.errors import Invalid, NotFound, TooLarge
from isthmus.core.messages import Message, Text
from isthmus.prompts.feature import SERVED, feature_of
from isthmus.prompts.registry import PREAMBLE, Prompt, Registry
from isthmus.routing.catalogue import Catalogue, CatalogueError, parse_catalogue
from isthmus.settings import Settings

_FILE_BYTES = 8_000_000
_HEADINGS = ("ID", "VERSIONS", "UNIT PRIMITIVE", "INPUTS (those in brackets may be left out)")


class _Usage(Exception):
    """The arguments ask for something that cannot be done; the sentence says what."""


def add(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",  # pyright: ignore[reportPrivateUsage] - argparse has no public name for it
) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    parser = subparsers.add_parser("prompts", help="list, check or render the prompts")
    actions = parser.add_subparsers(metavar="list|check|render", required=True)
    listing = actions.add_parser("list", help="print a table of the prompts")
    checking = actions.add_parser("check", help="check every file")
    rendering = actions.add_parser("render", help="print the messages of a prompt")
    rendering.add_argument("id", metavar="ID", help="the prompt, such as chat/explain_code")
    rendering.add_argument("--version", default="^1.0.0", metavar="V", help="version or constraint")
    rendering.add_argument(
        "--input", action="append", default=[], metavar="NAME=TEXT", help="one variable"
    )
    rendering.add_argument("--inputs", type=Path, metavar="FILE", help="variables, a JSON object")
    for action, do in ((listing, _list), (checking, _check), (rendering, _render)):
        action.add_argument("--dir", type=Path, metavar="DIR", help="other files than our own")
        action.set_defaults(run=run, do=do)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what was asked for. Returns 0, 1 when a check failed, 2 for wrong arguments."""
    do = cast("Callable[[argparse.Namespace, Registry, Settings], int]", args.do)
    root = cast("Path | None", args.dir) or LIBRARY / "prompts"
    try:
        return do(args, Registry.load(root), settings)
    except ValueError as error:
        return _fail(1, *str(error).splitlines())
    except OSError as error:
        return _fail(2, f"--dir: {root}: {error.strerror}")


def faults(registry: Registry, catalogue: Catalogue | None) -> Iterator[str]:
    """What is wrong with prompts that can be read: one line each, naming the file and the key."""
    yield from registry.check()
    for prompt_id in registry.ids():
        feature = feature_of(prompt_id)
        if catalogue is not None and feature not in catalogue.features:
            yield f"{prompt_id}: there is no feature `{feature}` in models.yml"
        for prompt in registry.versions(prompt_id):
            source = prompt.script.source
            if prompt.unit_primitive not in UNIT_PRIMITIVES:
                yield f"{source}: unit_primitive: `{prompt.unit_primitive}` is not known"
            pin = prompt.pinned_model
            if catalogue is not None and pin and pin not in catalogue.models:
                yield f"{source}: {prompt.version.text}: there is no model `{pin}` in models.yml"


def _list(args: argparse.Namespace, registry: Registry, settings: Settings) -> int:  # noqa: ARG001 - the actions share one signature
    rows = [_HEADINGS, *(_row(group) for group in _groups(registry))]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for *cells, last in rows:
        line = "".join(f"{cell:{width + 2}}" for cell, width in zip(cells, widths, strict=True))
        sys.stdout.write(f"{line}{last}".rstrip() + "\n")
    return 0


def _check(args: argparse.Namespace, registry: Registry, settings: Settings) -> int:
    found: list[str] = []
    try:
        data = (LIBRARY / "models.yml").read_bytes()
        catalogue = parse_catalogue(data, settings.models, settings.providers.openai)
    except CatalogueError as error:
        catalogue = None
        found.append(str(error))
    found.extend(dict.fromkeys(faults(registry, catalogue)))
    if args.dir is None:
        missing = sorted(SERVED.difference(registry.ids()))
        found.extend(
            f"{prompt_id}: callers rely on it, and it is not there" for prompt_id in missing
        )
        if not (LIBRARY / "prompts" / PREAMBLE).is_file():
            found.append(f"{PREAMBLE}: it is not there")
    if found:
        return _fail(1, *found)
    sys.stdout.write("ok\n")
    return 0


def _render(args: argparse.Namespace, registry: Registry, settings: Settings) -> int:  # noqa: ARG001 - the actions share one signature
    try:
        prompt = registry.get(args.id, args.version)
        messages = prompt.messages(_variables(args.input, args.inputs))
    except Invalid as error:
        return _fail(2, error.detail, *(f"{fault.field}: {fault.reason}" for fault in error.fields))
    except (NotFound, TooLarge) as error:
        return _fail(2, error.detail)
    except _Usage as error:
        return _fail(2, str(error))
    sys.stdout.write("\n\n".join(_shown(message) for message in messages) + "\n")
    return 0


def _variables(given: Iterable[str], path: Path | None) -> dict[str, object]:
    """The variables, and the date as the prompts API adds it."""
    variables: dict[str, object] = {"current_date": time.strftime("%B %d, %Y", time.gmtime())}
    if path is not None:
        try:
            with path.open("rb") as file:
                data = file.read(_FILE_BYTES)
            variables |= msgspec.json.decode(data, type=dict[str, object])
        except OSError as error:
            raise _Usage(f"--inputs: {path}: {error.strerror}") from error
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise _Usage(f"--inputs: {path}: {error}") from error
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise _Usage(f"--input: {text!r} is not NAME=TEXT")
        variables[name] = value
    return variables


def _groups(registry: Registry) -> Iterator[list[Prompt]]:
    """The versions of each file."""
    for prompt_id in registry.ids():
        files: dict[str, list[Prompt]] = {}
        for prompt in registry.versions(prompt_id):
            files.setdefault(prompt.script.source, []).append(prompt)
        yield from files.values()


def _row(group: list[Prompt]) -> tuple[str, str, str, str]:
    one = group[0]
    names = [*sorted(one.inputs), *(f"[{name}]" for name in sorted(one.script.optional))]
    versions = " ".join(prompt.version.text for prompt in group)
    return one.id, versions, one.unit_primitive, " ".join(names)


def _shown(message: Message) -> str:
    texts = (part.text for part in message.parts if isinstance(part, Text))
    return f"[{message.role}]\n" + "\n".join(texts)


def _fail(code: int, *reasons: str) -> int:
    for reason in reasons:
        sys.stderr.write(f"isthmus prompts: {reason}\n")
    return code

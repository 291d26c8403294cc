"""What a file of declared tools says: calls of the instance as data. Checked when it is loaded.

Source: agent-platform contract, section 8.4.
"""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from isthmus.core.notation import decode
from isthmus.platform.places import Wanted
from isthmus.platform.tool import Cleaning, Trust

Shape = Literal[
    "", "project", "mr", "issue", "commit", "job", "group", "epic", "parent", "work_item", "search"
]
_Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{1,63}$")]
_REST = re.compile(r"(GET|POST|PUT|DELETE) (/[^\s?#]*)")
_TYPE = re.compile(
    r"(str|int|float|bool|key|object|list\[str\]|list\[int\]|list\[object\])(\?)?(?: = (.+))?"
)
_KINDS: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "key": int | str,
    "object": dict[str, Any],
    "list[str]": list[str],
    "list[int]": list[int],
    "list[object]": list[dict[str, Any]],
}
MAX_TEXT_CHARS = 1_048_576


class Argument(Struct, frozen=True, forbid_unknown_fields=True):
    """An argument. `type` is written as `int? = 1`: kind, whether it may be left out, default."""

    type: str
    about: str = ""
    min: int | None = None
    max: int | None = None
    choices: tuple[str, ...] = ()
    most: int | None = None
    least: int | None = None


class Lookup(Struct, frozen=True, forbid_unknown_fields=True):
    """A question asked first: what stands at `result` is known as `$<name>` from then on.

    `where`, a key and a value, picks one of a list by a text in which letters of any case match;
    `take` is the key that is wanted of it.
    """

    name: _Name
    graphql: str
    variables: dict[str, Any]
    result: str
    where: tuple[str, str] | None = None
    take: str = "id"


class DeclaredTool(Struct, frozen=True, forbid_unknown_fields=True):
    """One tool that is one call.

    `rest` is method and path below `/api/v4`; `{project}`, `{group}` and arguments are put in,
    quoted. Arguments that the path does not use go into the query of a GET, else into the body,
    under their own names or those of `rename`; `send` adds constants. `graphql` is a document, and
    `variables` a tree whose texts `$name` are replaced by values, and left out without one;
    `$name:Kind` makes global ids of numbers, `$name.key` takes a part. `before` asks for ids;
    an argument in `nulls` that is true sets null at its way. `{a|b}` in a path is the first that
    was given.
    `result` is the way to what is shown, `failed` the way to a list of errors. `only` are the keys
    that are kept of each item; `cut` shortens texts, by key. `pages`: all of them are read as one
    list, always or when the argument of this name is true.
    """

    name: _Name
    group: Literal["RG", "RW"]
    description: Annotated[str, Meta(min_length=10, max_length=2_000)]
    title: Annotated[str, Meta(min_length=3, max_length=200)]
    shape: Shape = ""
    args: dict[_Name, str | Argument] = {}
    rest: str = ""
    graphql: str = ""
    variables: dict[str, Any] = {}
    result: str = ""
    failed: str = ""
    rename: dict[str, str] = {}
    send: dict[str, Any] = {}
    only: tuple[str, ...] = ()
    cut: dict[str, int] = {}
    pages: bool | str = False
    before: tuple[Lookup, ...] = ()
    nulls: dict[str, str] = {}
    text: bool = False
    feature: str = ""
    version: str = "1.0.0"
    trust: Trust = "user"
    cleaning: Cleaning = "all"

    def __post_init__(self) -> None:
        if bool(self.rest) == bool(self.graphql):
            raise ValueError(f"{self.name}: exactly one of `rest` and `graphql` is needed")
        if self.rest and not _REST.fullmatch(self.rest):
            raise ValueError(f"{self.name}: `rest` is a method and a path")
        for name in self.args:
            self.argument(name)

    def argument(self, name: str) -> Argument:
        """An argument in its long form. Raises ValueError for an unknown kind."""
        said = self.args[name]
        said = Argument(said) if isinstance(said, str) else said
        if not _TYPE.fullmatch(said.type):
            raise ValueError(f"{self.name}: `args.{name}` has the unknown type {said.type!r}")
        return said

    @property
    def call(self) -> tuple[str, str]:
        """Method and path."""
        found = _REST.fullmatch(self.rest)
        return ("", "") if found is None else (found[1], found[2])


class DeclaredTools(Struct, frozen=True, forbid_unknown_fields=True):
    """A file. `words` explain arguments that carry no text of their own."""

    tools: tuple[DeclaredTool, ...] = ()
    words: dict[str, str] = {}


SHAPES: dict[Shape, tuple[dict[str, str], Wanted]] = {
    "": ({}, Wanted()),
    "project": ({"url": "str?", "project_id": "key?"}, Wanted(project=True)),
    "mr": (
        {"url": "str?", "project_id": "key?", "merge_request_iid": "int?"},
        Wanted(project=True, items=("merge_request_iid",)),
    ),
    "issue": (
        {"url": "str?", "project_id": "key?", "issue_iid": "int?"},
        Wanted(project=True, items=("issue_iid",)),
    ),
    "commit": (
        {"url": "str?", "project_id": "key?", "commit_sha": "str?"},
        Wanted(project=True, items=("commit_sha",)),
    ),
    "job": (
        {"url": "str?", "project_id": "key?", "job_id": "int?"},
        Wanted(project=True, items=("job_id",)),
    ),
    "group": ({"url": "str?", "group_id": "key?"}, Wanted(group=True)),
    "epic": (
        {"url": "str?", "group_id": "key?", "epic_iid": "int?", "epic_id": "int?"},
        Wanted(group=True, items=("epic_iid",)),
    ),
    "parent": (
        {"url": "str?", "group_id": "key?", "project_id": "key?"},
        Wanted(project=True, group=True),
    ),
    "work_item": (
        {
            "url": "str?",
            "group_id": "key?",
            "project_id": "key?",
            "work_item_iid": "int?",
            "types": "list[str]?",
            "mr_page_size": "int = 20",
            "mr_pagination_cursor": "str?",
        },
        Wanted(project=True, group=True, items=("work_item_iid",)),
    ),
    "search": (
        {
            "id": "str",
            "search": "str",
            "search_type": "str",
            "order_by": "str?",
            "sort": "str?",
        },
        Wanted(),
    ),
}
"""Shape -> the arguments that its tools have in common, and what these have to name."""
_BOUNDS: dict[str, Argument] = {
    "mr_page_size": Argument("int = 20", min=1, max=100),
    "search_type": Argument("str", choices=("projects", "groups")),
}


def arguments(tool: DeclaredTool) -> dict[str, Argument]:
    """All arguments of a tool, the ones of its shape first."""
    shared = {
        name: _BOUNDS.get(name, Argument(kind)) for name, kind in SHAPES[tool.shape][0].items()
    }
    return shared | {name: tool.argument(name) for name in tool.args}


def struct_of(tool: DeclaredTool, words: dict[str, str]) -> type[Struct]:
    """A struct of the tool's arguments: required ones first, each with its bounds and its text."""
    needed: list[tuple[str, Any]] = []
    optional: list[tuple[str, Any, Any]] = []
    for name, argument in arguments(tool).items():
        found = _TYPE.fullmatch(argument.type)
        if found is None:
            raise ValueError(f"{tool.name}: `args.{name}` has an unknown type")
        kind = _bounded(found[1], argument)
        about = argument.about or words.get(name, "")
        if not about:
            raise ValueError(f"{tool.name}: `args.{name}` is explained nowhere")
        if found[2]:
            kind = kind | None
        described: Any = Annotated[kind, Meta(description=about)]
        if found[3] is not None:
            optional.append((name, described, msgspec.json.decode(found[3])))
        elif found[2]:
            optional.append((name, described, None))
        else:
            needed.append((name, described))
    fields: list[Any] = [*needed, *optional]
    named = "".join(map(str.title, tool.name.split("_")))
    return msgspec.defstruct(named, fields, frozen=True, forbid_unknown_fields=True)


def _bounded(kind: str, argument: Argument) -> Any:
    if argument.choices:
        chosen: Any = Literal[argument.choices]
        return list[chosen] if kind == "list[str]" else chosen
    made: Any = _KINDS[kind]
    if kind in ("int", "float"):
        return Annotated[made, Meta(ge=argument.min, le=argument.max)]
    if kind == "str":
        most = MAX_TEXT_CHARS if argument.most is None else argument.most
        return Annotated[made, Meta(max_length=most, min_length=argument.least)]
    if kind.startswith("list"):
        return Annotated[made, Meta(max_length=argument.most or 100, min_length=argument.least)]
    return made


def parse(text: bytes, source: str) -> DeclaredTools:
    """A file's content. Raises ValueError that names the file and the field at fault."""
    try:
        return decode(text, DeclaredTools)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ValueError(f"{source}: {' '.join(str(error).split())}") from error

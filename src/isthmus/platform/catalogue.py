"""Which flow a start message selects, and the flows that there are.

Source: agent-platform contract, section 4.3 (selector rules and texts).
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from isthmus.contract.contract_pb2 import StartWorkflowRequest
from isthmus.core.errors import Invalid
from isthmus.core.identity import ClientInfo
from isthmus.platform.flow import Flow
from isthmus.platform.flow_check import digest, faults, flow_of, parse
from isthmus.platform.flow_file import in_order
from isthmus.platform.flow_prompt import UNSAFE
from isthmus.platform.flow_schema import Schemas, checked
from isthmus.platform.flow_stock import BUNDLED, EDITOR, Stock
from isthmus.platform.tool import Tool
from isthmus.platform.versions import at_least
from isthmus.prompts import semver
from isthmus.prompts.registry import Registry
from isthmus.prompts.semver import Release

SCHEMAS = ("v1", "experimental")
BUILT_IN = frozenset(
    {"software_development", "convert_to_gitlab_ci", "chat", "issue_to_merge_request"}
)
MAX_NAME_CHARS = 256
MAX_CONFIG_BYTES = 512 * 1024
MAX_INLINE = 64
_TELLS_SCHEMA = (8, 51, 0)
"""Editors from this version on name the schema of the configurations that they send."""
_INLINE = "Failed to create flow from FlowConfig protobuf:"
_RENAMED = {
    "duo_planner/experimental": "duo_planner/v1",
    "security_analyst_agent/experimental": "security_analyst_agent/v1",
}


@dataclass(frozen=True, slots=True)
class Selector:
    """What a start message asks for; `definition` labels it, and decides which scope is needed.

    A built-in has `built_in`; a flow of the registry has `flow_id`, `schema` and `version`.
    """

    definition: str
    built_in: str = ""
    flow_id: str = ""
    schema: str = ""
    version: str = ""
    inline: bool = False


def select(start: StartWorkflowRequest) -> Selector:
    """Which flow the message names; empty strings count as unset. Raises Invalid."""
    definition = _RENAMED.get(start.workflowDefinition, start.workflowDefinition)
    inline = start.HasField("flowConfig")
    if start.flowVersion and not start.flowConfigId:
        raise Invalid("flowVersion requires flowConfigId")
    if start.flowConfigId:
        return _registered(start, definition, inline=inline)
    if inline:
        return Selector(definition, inline=True)
    if not definition:
        return Selector("", built_in="software_development")
    if definition in BUILT_IN:
        return Selector(definition, built_in=definition)
    name, slash, schema = definition.partition("/")
    if len(definition) > MAX_NAME_CHARS or not name or not slash or "/" in schema:
        raise Invalid(f"Unknown flow: {definition[:MAX_NAME_CHARS]}")
    _check_schema(schema)
    return Selector(definition, flow_id=name, schema=schema, version="1.0.0")


def _registered(start: StartWorkflowRequest, definition: str, *, inline: bool) -> Selector:
    if inline:
        raise Invalid("flowConfigId and flowConfig are mutually exclusive")
    schema = start.flowConfigSchemaVersion
    if not schema:
        raise Invalid("flowConfigId requires flowConfigSchemaVersion")
    if not start.flowVersion:
        raise Invalid("flowConfigId requires flowVersion")
    _check_schema(schema)
    flow_id = start.flowConfigId[:MAX_NAME_CHARS]
    return Selector(
        definition or f"{flow_id}/{schema}",
        flow_id=flow_id,
        schema=schema,
        version=start.flowVersion[:MAX_NAME_CHARS],
    )


def _check_schema(schema: str) -> None:
    if schema not in SCHEMAS:
        shown = schema[:MAX_NAME_CHARS]
        raise Invalid(f"Unsupported flow schema version: {shown!r}; it must be v1 or experimental")


@dataclass(frozen=True, slots=True)
class Entry:
    """A flow that comes with the server, and its file's content as JSON."""

    name: str
    version: str
    schema: str
    flow: Flow
    config: str


@dataclass(frozen=True, slots=True)
class Filters:
    """Which flows are listed: those that fit every filter that has values, by any of them."""

    environments: frozenset[str] = frozenset()
    versions: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def fit(self, entry: Entry) -> bool:
        """Whether the flow is listed. `version` is the schema's, as in its file."""
        return all(
            not wanted or value in wanted
            for wanted, value in (
                (self.environments, entry.flow.environment),
                (self.versions, entry.schema),
                (self.names, entry.name),
            )
        )


class Catalogue:
    """The flows of this server by name and version, and the inline ones that ran last.

    `stock` is what inline ones may name.
    """

    def __init__(self, entries: Iterable[Entry], stock: Stock | None = None) -> None:
        self.entries = tuple(entries)
        self._stock = stock or Stock()
        self._flows: dict[tuple[str, str], dict[str, Flow]] = {}
        for entry in self.entries:
            self._flows.setdefault((entry.name, entry.schema), {})[entry.version] = entry.flow
        self._inline: OrderedDict[str, Flow] = OrderedDict()

    def resolve(self, selector: Selector, start: StartWorkflowRequest, client: ClientInfo) -> Flow:
        """The flow that was selected; `start` holds an inline one.

        Raises Invalid when this server has none, or it cannot run.
        """
        if selector.inline:
            return self._configured(start, client)
        if selector.built_in:
            where = (selector.built_in, "v1")
            return self._named(where, "*", f"Unknown flow: {selector.built_in}")
        named = f"Unknown flow: {selector.flow_id}/{selector.schema}"
        where = (selector.flow_id, selector.schema)
        if where not in self._flows:
            raise Invalid(named)
        return self._named(
            where, selector.version, f"{named} (version {selector.version} not found)"
        )

    def _named(self, where: tuple[str, str], wanted: str, otherwise: str) -> Flow:
        versions = self._flows.get(where, {})
        try:
            best = semver.pick(map(semver.parse, versions), wanted)
        except ValueError as error:
            raise Invalid(f"flowVersion: {error}") from error
        if best is None:
            raise Invalid(otherwise)
        return versions[best.text]

    def _configured(self, start: StartWorkflowRequest, client: ClientInfo) -> Flow:
        """An inline flow. Its errors name the place in the configuration."""
        if start.flowConfig.ByteSize() > MAX_CONFIG_BYTES:
            raise Invalid(f"{_INLINE} it is larger than {MAX_CONFIG_BYTES} bytes")
        value = in_order(MessageToDict(start.flowConfig))
        told = at_least(client.get("x-gitlab-language-server-version"), _TELLS_SCHEMA)
        if told and start.flowConfigSchemaVersion != value.get("version"):
            raise Invalid(f"{_INLINE} flowConfigSchemaVersion is not the configuration's version")
        key = digest(value)
        flow = self._inline.pop(key, None)
        if flow is None:
            try:
                flow = flow_of(value, key, self._stock)
            except Invalid as error:
                text = error.detail
                raise Invalid(text if text == UNSAFE else f"{_INLINE} {text}") from error
        self._inline[key] = flow
        if len(self._inline) > MAX_INLINE:
            self._inline.popitem(last=False)
        return flow

    def faults(self, config: Struct) -> tuple[str, ...]:
        """What is wrong with a configuration that somebody has checked; empty when it may run."""
        if config.ByteSize() > MAX_CONFIG_BYTES:
            return (f"It is larger than {MAX_CONFIG_BYTES} bytes",)
        return faults(in_order(MessageToDict(config)), self._stock, EDITOR)

    def listed(self, filters: Filters) -> Iterator[Entry]:
        """The flows that come with the server, by name and version."""
        return (entry for entry in self.entries if filters.fit(entry))


def read_schemas(folder: Path) -> Schemas:
    """The schemas of answers in `<folder>/<id>/<semver>.yml`, each a JSON Schema.

    Reads files: for the start of the process. Raises Invalid when one cannot be used.
    """
    known: dict[str, dict[str, Mapping[str, object]]] = {}
    for file in sorted(folder.glob("*/*.yml")):
        try:
            semver.parse(file.stem)
            definition = checked(msgspec.yaml.decode(file.read_bytes()))
        except (ValueError, msgspec.DecodeError) as error:
            raise Invalid(f"Failed to load schema {file.parent.name}: {error}") from error
        known.setdefault(file.parent.name, {})[file.stem] = definition
    return Schemas(known)


def load(folder: Path, stock: Stock | None = None) -> Catalogue:
    """The flows in `<folder>/<name>/<semver>.yml`, and `.../<name>/experimental/<semver>.yml`.

    A file's list `serves` names other versions, older ones as a rule, that it answers for as well.

    Reads files: for the start of the process. Raises Invalid when one does not parse, or names what
    is not in stock.
    """
    stock = stock or Stock()
    entries: list[Entry] = []
    for schema, pattern in (("v1", "*/*.yml"), ("experimental", "*/experimental/*.yml")):
        for file in folder.glob(pattern):
            name = file.relative_to(folder).parts[0]
            entries += _entries((name, file.stem, schema), file.read_bytes(), stock)
    return Catalogue(sorted(entries, key=_order), stock)


def bundled(library: Path, tools: Mapping[str, Tool], prompts: Registry) -> Catalogue:
    """The flows that come with the server; raises as `load` does."""
    return load(library / "flows", Stock(tools, prompts, read_schemas(library / "schemas")))


def _order(entry: Entry) -> tuple[str, str, tuple[Release, bool, str]]:
    return entry.name, entry.schema, semver.parse(entry.version).order


def _entries(named: tuple[str, str, str], text: bytes, stock: Stock) -> Iterator[Entry]:
    """The flow of a file, once for its own version and once for each that it `serves` as well."""
    name, version, schema = named
    source = f"{name}@{version}" if schema == "v1" else f"{name}/{schema}@{version}"
    flow = parse(text, source, stock, BUNDLED)
    value = msgspec.yaml.decode(text)
    if value["version"] != schema:
        raise Invalid(f"Failed to load flow {source}: its version is not {schema!r}")
    config = msgspec.json.encode({key: said for key, said in value.items() if key != "serves"})
    for served in (version, *map(str, value.get("serves", ()))):
        try:
            semver.parse(served)
        except ValueError as error:
            raise Invalid(f"Failed to load flow {source}: {error}") from error
        yield Entry(name, served, schema, flow, config.decode())

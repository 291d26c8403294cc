"""Which flow a start message selects, and the flows that there are.

Source: agent-platform contract, section 4.3 (selector rules and texts).
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.json_format import MessageToDict

from isthmus.contract.contract_pb2 import StartWorkflowRequest
from isthmus.core.errors import Invalid
from isthmus.core.identity import ClientInfo
from isthmus.platform.flow import Flow
from isthmus.platform.flow_check import UNSAFE, digest, flow_of, parse
from isthmus.platform.versions import at_least
from isthmus.prompts import semver

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


class Catalogue:
    """The flows of this server by name and version, and the inline ones that ran last."""

    def __init__(self, flows: Mapping[str, Mapping[str, Flow]]) -> None:
        self._flows = {name: dict(versions) for name, versions in flows.items()}
        self._inline: OrderedDict[str, Flow] = OrderedDict()

    def resolve(self, selector: Selector, start: StartWorkflowRequest, client: ClientInfo) -> Flow:
        """The flow that was selected; `start` holds an inline one.

        Raises Invalid when this server has none, or it cannot run.
        """
        if selector.inline:
            return self._configured(start, client)
        if selector.built_in:
            return self._named(selector.built_in, "*", f"Unknown flow: {selector.built_in}")
        named = f"Unknown flow: {selector.flow_id}/{selector.schema}"
        versions = self._flows.get(selector.flow_id, {})
        if selector.schema != "v1" or not versions:
            raise Invalid(named)
        return self._named(
            selector.flow_id, selector.version, f"{named} (version {selector.version} not found)"
        )

    def _named(self, name: str, wanted: str, otherwise: str) -> Flow:
        versions = self._flows.get(name, {})
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
        value = MessageToDict(start.flowConfig)
        told = at_least(client.get("x-gitlab-language-server-version"), _TELLS_SCHEMA)
        if told and start.flowConfigSchemaVersion != value.get("version"):
            raise Invalid(f"{_INLINE} flowConfigSchemaVersion is not the configuration's version")
        key = digest(value)
        flow = self._inline.pop(key, None)
        if flow is None:
            try:
                flow = flow_of(value, key)
            except Invalid as error:
                text = error.detail
                raise Invalid(text if text == UNSAFE else f"{_INLINE} {text}") from error
        self._inline[key] = flow
        if len(self._inline) > MAX_INLINE:
            self._inline.popitem(last=False)
        return flow


def load(folder: Path) -> Catalogue:
    """The flows in `<folder>/<name>/<semver>.yml`.

    Reads files: for the start of the process. Raises Invalid when one does not parse.
    """
    flows: dict[str, dict[str, Flow]] = {}
    for file in sorted(folder.glob("*/*.yml")):
        name, version = file.parent.name, file.stem
        try:
            semver.parse(version)
        except ValueError as error:
            raise Invalid(f"Failed to load flow {name}: {error}") from error
        flows.setdefault(name, {})[version] = parse(file.read_bytes(), f"{name}@{version}")
    return Catalogue(flows)

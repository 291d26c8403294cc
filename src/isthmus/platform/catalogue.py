"""Which flow a start message selects, and the flows that there are.

Source: agent-platform contract, section 4.3 (selector rules and texts).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from isthmus.contract.contract_pb2 import StartWorkflowRequest
from isthmus.core.errors import Invalid
from isthmus.platform.flow import Flow, parse

SCHEMAS = ("v1", "experimental")
BUILT_IN = frozenset(
    {"software_development", "convert_to_gitlab_ci", "chat", "issue_to_merge_request"}
)
MAX_NAME_CHARS = 256
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
    """The flows of this server, by built-in name."""

    def __init__(self, flows: Mapping[str, Flow]) -> None:
        self._flows = dict(flows)

    def resolve(self, selector: Selector) -> Flow:
        """The flow that was selected. Raises Invalid when this server has none."""
        if selector.inline:
            raise Invalid(
                "Failed to create flow from FlowConfig protobuf: this server runs no inline flows"
            )
        if selector.built_in:
            flow = self._flows.get(selector.built_in)
            if flow is None:
                raise Invalid(f"Unknown flow: {selector.built_in}")
            return flow
        raise Invalid(f"Unknown flow: {selector.flow_id}/{selector.schema}")


def load(folder: Path) -> Catalogue:
    """The flows in `<folder>/<name>/<semver>.yml`; the newest version of each name serves.

    Reads files: for the start of the process. Raises Invalid when one does not parse.
    """
    flows: dict[str, Flow] = {}
    for file in sorted(folder.glob("*/*.yml"), key=lambda path: _version(path.stem)):
        flows[file.parent.name] = parse(file.read_bytes(), f"{file.parent.name}@{file.stem}")
    return Catalogue(flows)


def _version(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError as error:
        raise Invalid(f"Failed to load flow: {text!r} is not a version") from error

"""runReadFiles: several text files at once, as one JSON object."""

import json

from isthmus.contract.contract_pb2 import ReadFiles
from isthmus.core.errors import ToolRefused
from isthmus.executor.action import ActionKind, Machine
from isthmus.executor.actions.read_file import text_of

FILES = 100
TOTAL_CHARS = 3_000_000


async def run(message: ReadFiles, machine: Machine) -> str:
    """JSON: path -> {"content": ...} or {"error": ...}."""
    paths = list(dict.fromkeys(message.filepaths))
    if len(paths) > FILES:
        raise ToolRefused(f"at most {FILES} files can be read at once")
    found: dict[str, dict[str, str]] = {}
    left = TOTAL_CHARS
    for path in paths:
        try:
            text = machine.mask(await text_of(path, machine))
        except ToolRefused as refused:
            found[path] = {"error": refused.detail}
            continue
        left -= len(text)
        found[path] = {"content": text} if left >= 0 else {"error": "the answer would be too large"}
    return json.dumps(found, ensure_ascii=False)


ACTION = ActionKind(field="runReadFiles", effect="read", run=run, masks=True)

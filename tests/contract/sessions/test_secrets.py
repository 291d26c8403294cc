"""What a session's model never sees, and its own executor gets back."""

import json
import zlib

import pytest

from isthmus.contract.contract_pb2 import Action
from isthmus.core.checkpoint import Thread
from isthmus.platform.vault import Vault
from tests.support.scripted_models import ScriptedModels, say, use
from tests.support.session_client import RULES, Stand, chat

SECRET = "s3cret"
VAULT = Vault(RULES, bytes(32))
KEPT = VAULT.mark("known", SECRET)
FILE = f"key = {SECRET}\nport = 1\n"


def answer(action: Action) -> str:
    return FILE if action.HasField("runReadFile") else f"done, and it says {SECRET}"


def call(tool: str, **arguments: object) -> tuple[str, str, str]:
    return "c2", tool, json.dumps(arguments)


READ = use(("c1", "read_file", '{"file_path": "a"}'))
ALLOWED = ["read_file", "edit_file", "run_command"]


async def run(stand: Stand) -> list[Action]:
    async with stand.serving():
        told = await stand.stream(chat("go", preapproved_tools=ALLOWED), answer)
    assert told.error is None
    # Nothing but the edit itself tells the secret.
    others = [one for one in told.actions if not one.HasField("runEditFile")]
    assert SECRET not in repr(others)
    assert SECRET not in repr(stand.models.asks)
    assert SECRET not in repr(stand.sink.facts)
    return told.work


async def test_an_edit_gets_the_secret_back_and_nobody_else_does() -> None:
    edit = call("edit_file", file_path="a", old_str=f"key = {KEPT}\nport = 1", new_str=f"# {KEPT}")
    stand = Stand(ScriptedModels(READ, use(edit), say("ok")))
    work = await run(stand)
    assert work[1].runEditFile.oldString == f"key = {SECRET}\nport = 1"
    assert work[1].runEditFile.newString == f"# {SECRET}"
    assert KEPT in repr(stand.models.prompt(1))
    stored = await stand.checkpoints.get(Thread("7"), None)
    assert stored is not None
    texts = [stored.header, stored.metadata, *(blob.data for blob in stored.blobs)]
    plain = b"".join(zlib.decompress(text[1:]) if text[1:2] == b"\x78" else text for text in texts)
    assert KEPT.encode() in plain
    assert SECRET.encode() not in plain


async def test_a_command_gets_the_mark_alone() -> None:
    command = call("run_command", program="echo", args=KEPT)
    stand = Stand(ScriptedModels(READ, use(command), say("ok")))
    work = await run(stand)
    assert list(work[1].runCommand.arguments) == [KEPT]


@pytest.mark.parametrize("mark", ["[REDACTED:known:ffff]", "[REDACTED:other:0000000000000000]"])
async def test_an_edit_with_a_mark_that_nobody_knows_is_refused(mark: str) -> None:
    edit = call("edit_file", file_path="a", old_str="port", new_str=mark)
    stand = Stand(ScriptedModels(READ, use(edit), say("ok")))
    work = await run(stand)
    assert [one.WhichOneof("action") for one in work] == ["runReadFile"]
    assert "no longer known" in repr(stand.models.prompt(2))


async def test_each_call_to_a_model_knows_its_sessions_marks() -> None:
    stand = Stand(ScriptedModels(READ, say("ok")))
    await run(stand)
    marks = [ask.marks for ask in stand.models.asks]
    assert marks[0] is marks[1]
    assert marks[0] is not None
    assert marks[0].mark("known", SECRET) == KEPT

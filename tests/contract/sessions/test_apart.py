"""Sessions of several owners whose instances gave them the same number.

Only a session's own client tells what its instance says: nothing of another's may hang on it.
"""

import asyncio
import json

from isthmus.contract.contract_pb2 import Action
from isthmus.core.errors import Unavailable
from isthmus.core.identity import Caller
from isthmus.platform.keeping import at_instance
from isthmus.platform.vault import Vault
from tests.support.foreign_instance import ForeignInstance
from tests.support.scripted_models import Line, ScriptedModels, say, use
from tests.support.session_client import RULES, Reply, Stand, chat

SECRET = "s3cret"
MARK = Vault(RULES, bytes(32)).mark("known", SECRET)
OWNER = Caller("user-1", scopes=frozenset({"duo_chat"}))
STRANGER = Caller("user-2", scopes=frozenset({"duo_chat"}))
HEADERS = {"x-gitlab-version": "19.3.0-ee"}
ALLOWED = ["read_file", "create_file_with_contents"]
READ = use(("c1", "read_file", '{"file_path": "a"}'))


def write(text: str) -> Line:
    arguments = json.dumps({"file_path": "b", "contents": text})
    return use(("c2", "create_file_with_contents", arguments))


def workspace(action: Action) -> Reply:
    return f"key = {SECRET}" if action.HasField("runReadFile") else "done"


async def test_a_stranger_gets_none_of_the_secrets_of_a_session() -> None:
    models = ScriptedModels(READ, write(MARK), say("ok"), write(MARK), say("ok"))
    stand = Stand(models, stores=at_instance)
    start = chat("go", preapproved_tools=ALLOWED)
    async with stand.serving():
        told = await stand.stream(start, ForeignInstance(workspace), caller=OWNER, headers=HEADERS)
        other = await stand.stream(
            start, ForeignInstance(workspace), caller=STRANGER, headers=HEADERS
        )
    assert (told.error, other.error) == (None, None)
    written = [one.runWriteFile.contents for one in told.work if one.HasField("runWriteFile")]
    assert written == [SECRET], "its own executor gets it back"
    assert not [one for one in other.work if one.HasField("runWriteFile")]
    assert SECRET not in repr(other.actions)


async def test_a_stranger_does_not_hold_the_session_of_another() -> None:
    stand = Stand(ScriptedModels(say("hi")), stores=at_instance)
    async with stand.serving():
        asked = asyncio.Event()

        def silent(_: Action) -> Reply:
            """Keeps its session waiting for the very first answer."""
            asked.set()
            return None

        waits = asyncio.create_task(
            stand.stream(chat("go"), silent, caller=STRANGER, headers=HEADERS)
        )
        await asked.wait()
        told = await stand.stream(chat("go"), ForeignInstance(), caller=OWNER, headers=HEADERS)
        again = await stand.stream(chat("go"), silent, caller=STRANGER, headers=HEADERS)
        waits.cancel()
        await asyncio.wait({waits})
    assert told.error is None
    assert told.statuses[-1] == "INPUT_REQUIRED"
    assert isinstance(again.error, Unavailable), "each runs once"

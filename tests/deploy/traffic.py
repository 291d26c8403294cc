"""A server with models that answer, fail, queue and cost, and traffic of every kind through it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import httpx
from grpc import aio
from websockets.asyncio.client import connect

from isthmus.contract.contract_pb2 import (
    Action,
    ActionResponse,
    ClientEvent,
    PlainTextResponse,
    StartWorkflowRequest,
)
from isthmus.contract.contract_pb2_grpc import DuoWorkflowStub
from tests.support.certificates import write_pair
from tests.support.process import UNTRUSTING, RunningServer, running_server
from tests.support.scripted_upstream import Upstream, scripted_upstream
from tests.support.upstream_wires import Call

NOBODY = "http://127.0.0.1:1"
PROXY = "ai_gateway_model_provider_proxy"
SECRET = "sk_live_" + "A1b2C3d4E5f6G7h8"
SCRIPTS = {
    "[work]": [
        [Call("read_file", {"file_path": "README.md"})],
        [Call("list_dir", {"directory": "."})],
        "I looked around.",
    ],
    "[wait]": [[Call("read_file", {"file_path": "slow.md"})], "I waited."],
}
SETTINGS = """
limits:
  rules:
    - {name: one-a-month, amount: 1, window: month, by: user, where: {user: greedy}}
    - {name: team-budget, counts: cost, amount: 0.000001, window: month, mode: shadow}
redaction:
  prompt: shadow
routing:
  deployments:
    haiku: {model: claude_haiku_4_5_20251001, concurrency: 1}
    haiku-broken: {model: claude_haiku_4_5_20251001, base_url: "%(nobody)s"}
    sonnet-1: {model: claude_sonnet_4_6}
    sonnet-2: {model: claude_sonnet_4_6}
    nano-broken: {model: gpt_5_4_nano, base_url: "%(nobody)s"}
platform: {action_s: %(action_s)s, model_retries: 0}
drain: {notice_s: 600}
http:
  tls: {enabled: true, cert_file: cert.pem, key_file: key.pem}
"""
"""Two places are those of nobody: the second one of haiku, and the only one of nano."""
STALL_S = 600.0
ACTION_S = 5.0
"""A session without a step for longer is stuck."""
Script = Callable[[Action], "str | None"]
_SERIAL = count(1)


class Turn(Protocol):
    """Plays one turn of a session, of a flow and with a model if they are named."""

    async def __call__(
        self,
        workflow_id: str,
        goal: str,
        script: Script,
        *,
        definition: str = ...,
        model: str = ...,
    ) -> None: ...


@contextmanager
def busy_server(folder: Path) -> Iterator["Traffic"]:
    """The server with all of that set."""
    write_pair(folder, 1)
    (folder / "isthmus.yml").write_text(
        SETTINGS % {"nobody": NOBODY, "action_s": ACTION_S}, encoding="utf-8"
    )
    with scripted_upstream(SCRIPTS) as upstream:
        upstream.pause_s = 0.01
        # The variable is how the support knows that the address is https.
        given = {**upstream.settings(), "ISTHMUS_HTTP__TLS__ENABLED": "true"}
        arguments = ("--config", "isthmus.yml")
        with running_server(folder, given, arguments=arguments) as server:
            server.wait_for_sessions()
            made = server.command("tokens", "create", "--name", "client")
            assert made.returncode == 0, made.stderr
            scopes = ("complete_code", "generate_code", "duo_chat", "duo_agent_platform")
            headers = server.headers(*scopes, "duo_workflow_execute_workflow", PROXY)
            yield Traffic(server, upstream, headers, made.stdout.split()[-1])


@dataclass(frozen=True)
class Traffic:
    """What makes a round of it: `headers` are the gateway's, `account` the instance's token."""

    server: RunningServer
    upstream: Upstream
    headers: dict[str, str]
    account: str

    async def round(self) -> None:
        """Every kind of request and of session once, or a few times."""
        async with asyncio.timeout(120):
            await self._gateway()
            await self._sessions()
            await self._socket()

    async def stall(self, seen: Callable[[], bool]) -> None:
        """A session whose model falls silent, until `seen` says that this was seen."""
        usual, self.upstream.pause_s = self.upstream.pause_s, STALL_S
        try:
            async with self._channel() as play_turn, asyncio.TaskGroup() as group:
                turn = group.create_task(play_turn(f"5{next(_SERIAL):06}", "[work]", answered))
                try:
                    assert await asyncio.to_thread(seen)
                finally:
                    turn.cancel()
        finally:
            self.upstream.pause_s = usual

    async def _gateway(self) -> None:
        async with httpx.AsyncClient(
            base_url=self.server.url, headers=self.headers, verify=UNTRUSTING, timeout=60
        ) as client:

            async def post(path: str, body: object, **headers: str) -> int:
                reply = await client.post(path, json=body, headers=headers)
                return reply.status_code

            code, made = "/v2/code/completions", "/v2/code/generations"
            at_once = [post(code, suggestion("a.py", f"x = {n}\n")) for n in range(6)]
            assert set(await asyncio.gather(*at_once)) == {200}
            assert await post(code, suggestion("b.go", f"key = '{SECRET}'\n")) == 200
            assert await post(made, suggestion("c.rb", "def a", stream=True)) == 200
            greedy = {"x-gitlab-global-user-id": "greedy"}
            told = {await post(code, suggestion("d.ts", "let"), **greedy) for _ in range(2)}
            assert 429 in told
            dead = {"model": "gpt-5.4-nano", "messages": [{"role": "user", "content": "hi"}]}
            forward = {"x-gitlab-unit-primitive": PROXY}
            for _ in range(5):
                assert await post("/v1/proxy/openai/v1/chat/completions", dead, **forward) >= 500

    async def _sessions(self) -> None:
        async with self._channel() as turn:
            chat = f"1{next(_SERIAL):06}"
            await turn(chat, "[work]", answered)
            await turn(chat, "[work] again", refused)
            await turn(f"2{next(_SERIAL):06}", "[work]", answered, definition="developer/v1")
            broken = f"3{next(_SERIAL):06}"
            model = '{"provider": "gitlab", "name": "gpt_5_4_nano"}'
            await turn(broken, "[work]", answered, model=model)
            await turn(broken, "[work]", answered)
            await turn(f"4{next(_SERIAL):06}", "[wait]", silent)

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[Turn]:
        """What plays a turn over gRPC."""
        async with aio.insecure_channel(f"127.0.0.1:{self.server.grpc}") as channel:
            stub: Any = DuoWorkflowStub(channel)
            metadata = list(self.headers.items())

            async def turn(
                workflow_id: str,
                goal: str,
                script: Script,
                *,
                definition: str = "chat",
                model: str = "",
            ) -> None:
                more = [("x-gitlab-agent-platform-model-metadata", model)] if model else []
                call = stub.ExecuteWorkflow(metadata=[*metadata, *more])
                await play(call, start(workflow_id, goal, definition), script)

            yield turn

    async def _socket(self) -> None:
        headers = {"authorization": f"Bearer {self.account}"}
        body = {"goal": "hi", "workflow_definition": "chat", "namespace_id": "local"}
        records = f"{self.server.url}/api/v4/ai/duo_workflows/workflows"
        async with httpx.AsyncClient(verify=UNTRUSTING, timeout=60, headers=headers) as client:
            reply = await client.post(records, json=body)
        assert reply.status_code == 201, reply.text
        url = f"wss://127.0.0.1:{self.server.http}/api/v4/ai/duo_workflows/ws"
        begin = {"startRequest": {"workflowID": str(reply.json()["id"]), "goal": "hi"}}
        async with connect(url, additional_headers=headers, ssl=UNTRUSTING) as socket:
            await socket.send(httpx.Response(200, json=begin).text)
            async for _ in socket:
                pass


def suggestion(file_name: str, above: str, **more: object) -> dict[str, object]:
    """The body of a request for code."""
    file = {"file_name": file_name, "content_above_cursor": above, "content_below_cursor": ""}
    return {"prompt_version": 1, "current_file": file, **more}


def start(workflow_id: str, goal: str, definition: str) -> StartWorkflowRequest:
    """The first message of a turn."""
    return StartWorkflowRequest(workflowID=workflow_id, workflowDefinition=definition, goal=goal)


async def play(call: Any, first: StartWorkflowRequest, script: Script) -> None:
    """One turn; a script that is silent has the client leave in the middle of it."""
    await call.write(ClientEvent(startRequest=first))
    try:
        async for action in _actions(call):
            answer = script(action)
            if answer is None:
                return
            failed = answer == "failed"
            text = PlainTextResponse(response=answer, error="no such file" if failed else "")
            response = ActionResponse(requestID=action.requestID, plainTextResponse=text)
            await call.write(ClientEvent(actionResponse=response))
    except aio.AioRpcError:
        pass
    finally:
        call.cancel()


async def _actions(call: Any) -> AsyncIterator[Action]:
    async for action in call:
        if not action.HasField("newCheckpoint"):
            yield action


def answered(action: Action) -> str:
    return f"done: {action.WhichOneof('action')}"


def refused(action: Action) -> str:
    del action
    return "failed"


def silent(action: Action) -> None:
    del action

"""Any request that our OpenAPI document allows, and many that it does not, with all checks on.

`FUZZ_SECONDS` is how long it looks; `make fuzz` looks for three minutes.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from isthmus.auth.scopes import UNIT_PRIMITIVES
from tests.support.process import RunningServer, running_server
from tests.support.replay import KEY, replaying

SECONDS = os.environ.get("FUZZ_SECONDS", "20")
CONFIG = Path(__file__).with_name("schemathesis.toml")
PROGRAM = str(Path(sys.executable).with_name("schemathesis"))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with replaying("anthropic") as anthropic, replaying("openai") as openai:
        settings = {
            "ANTHROPIC_API_KEY": KEY,
            "ISTHMUS_PROVIDERS__ANTHROPIC__BASE_URL": anthropic.base_url,
            "OPENAI_API_KEY": KEY,
            "ISTHMUS_PROVIDERS__OPENAI__BASE_URL": openai.base_url,
            "AIGW_FASTAPI__OPENAPI_URL": "/openapi.json",
            "ISTHMUS_TRANSPORTS": "http",
        }
        context = running_server(tmp_path, settings)
        started = await asyncio.to_thread(context.__enter__)
        try:
            yield started
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)


async def test_any_request_gets_a_documented_answer(server: RunningServer, tmp_path: Path) -> None:
    # Amazon Q answers 501 by design, which a check takes for a fault: here it is not allowed.
    scopes = sorted(UNIT_PRIMITIVES - {"amazon_q_integration"})
    token = await asyncio.to_thread(server.token, *scopes)
    known = {"authorization": f"Bearer {token}", "x-gitlab-authentication-type": "oidc"}
    async with httpx.AsyncClient(base_url=server.url, headers=known, trust_env=False) as client:
        shown = await client.get("/openapi.json", headers={"x-gitlab-instance-id": "dev"})
    document = tmp_path / "openapi.json"
    document.write_bytes(shown.raise_for_status().content)
    command = [PROGRAM, "--config-file", str(CONFIG), "run", str(document), "--url", server.url]
    command += ["--checks", "all", "--max-time", SECONDS, "--warnings", "off", "--no-color"]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**server.environment, "ISTHMUS_TOKEN": token},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]

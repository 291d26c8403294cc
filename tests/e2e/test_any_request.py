"""Any request that our OpenAPI document allows, and many that it does not: schemathesis, all checks.

`FUZZ_SECONDS` is how long it looks; `make fuzz` looks for three minutes.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from isthmus.auth.scopes import UNIT_PRIMITIVES
from tests.support.process import RunningServer, running_server
from tests.support.replay import KEY, replaying

SECONDS = os.environ.get("FUZZ_SECONDS", "20")
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
    headers = server.headers(*sorted(UNIT_PRIMITIVES)) | {
        "x-gitlab-global-user-id": "dev",
        "x-gitlab-unit-primitive": "ai_gateway_model_provider_proxy",
    }
    command = [PROGRAM, "run", f"{server.url}/openapi.json", "--checks", "all"]
    command += ["--max-time", SECONDS, "--warnings", "off", "--no-color"]
    command += [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:]

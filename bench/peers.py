"""The peers, each in an environment of its own: LiteLLM (PyPI) and Portkey (npm)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.machine import SERVER_CORE, free_port, wait_for_http

LITELLM = """
model_list:
  - model_name: gpt-5
    litellm_params: {{model: openai/gpt-5, api_base: "http://127.0.0.1:{upstream}/v1", api_key: k}}
general_settings: {{master_key: sk-bench}}
litellm_settings: {{telemetry: false}}
"""


def install(folder: Path) -> None:
    """Install both peers once; later runs reuse them."""
    environment = folder / "litellm"
    if not (environment / "bin" / "litellm").exists():
        print("installing LiteLLM ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "litellm[proxy]"], check=True)
    portkey = folder / "portkey"
    if not (portkey / "node_modules" / "@portkey-ai" / "gateway").exists():
        print("installing Portkey ...", flush=True)
        portkey.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "@portkey-ai/gateway"]
        subprocess.run([*command, "--prefix", str(portkey)], check=True)


@contextmanager
def litellm(folder: Path, upstream: int) -> Iterator[tuple[int, int, float]]:
    """LiteLLM's proxy on the server's core; yields port, process id and seconds to ready."""
    port = free_port()
    config = folder / "litellm.yml"
    config.write_text(LITELLM.format(upstream=upstream), encoding="utf-8")
    program = str(folder / "litellm" / "bin" / "litellm")
    command = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    environment = dict(os.environ) | {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with _pinned(command, environment, folder / "litellm.log") as pid:
        yield port, pid, wait_for_http(f"http://127.0.0.1:{port}/health/liveliness", 180)


@contextmanager
def portkey(folder: Path) -> Iterator[tuple[int, int, float]]:
    """Portkey's gateway on the server's core; yields port, process id and seconds to ready."""
    port = free_port()
    main = folder / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
    command = ["node", str(main), f"--port={port}", "--headless"]
    with _pinned(command, dict(os.environ), folder / "portkey.log") as pid:
        yield port, pid, wait_for_http(f"http://127.0.0.1:{port}/", 60)


@contextmanager
def _pinned(command: list[str], environment: dict[str, str], log: Path) -> Iterator[int]:
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *command],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

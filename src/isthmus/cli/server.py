"""`isthmus server`: runs both listeners and prints how to use them."""

import argparse
import shlex
import socket
import sys
import time
from pathlib import Path

from isthmus.core.events import Started
from isthmus.serve import run as serve
from isthmus.settings import OpenAISettings, Settings, Source

OLLAMA = ("127.0.0.1", 11434)
OLLAMA_WAIT_S = 0.05
_OPENAI = OpenAISettings().base_url


def add(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",  # pyright: ignore[reportPrivateUsage] - argparse has no public name for it
) -> None:
    """Declare the command's arguments; `run` is put into the namespace."""
    parser = subparsers.add_parser("server", help="run the server")
    parser.add_argument(
        "--transports", metavar="LIST", help="http, grpc, or http,grpc (the default)"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (YAML)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    since_s = getattr(args, "since_s", time.monotonic())
    banner = Banner(settings)
    source = Source(args.config, {"transports": args.transports})
    serve(settings, source, banner.tell, since_s)
    sys.stdout.write("Stopped.\n")
    return 0


class Banner:
    """Tells a person at a terminal what is ready and what to paste."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def tell(self, started: Started) -> None:
        """Print what can be used from now on."""
        if started.transport == "http":
            text = self._http(started)
        else:
            text = (
                f"Sessions are ready at grpc://{started.address} after {started.after_s:.1f} s.\n"
                f"  {self._command('executor')} --goal 'Look around' --workspace .\n"
            )
        sys.stdout.write(text)
        sys.stdout.flush()

    def _http(self, started: Started) -> str:
        http, grpc = self._settings.http, self._settings.grpc
        lines = ["", f"Isthmus is ready at {started.address} after {started.after_s:.1f} s."]
        metrics = [(http.metrics_host, http.metrics_port)]
        if "grpc" in self._settings.transports:
            lines.append(f"  agent platform  grpc://{grpc.host}:{grpc.port} (loading)")
            metrics.append((grpc.metrics_host, grpc.metrics_port))
        lines += [
            f"  metrics         http://{host}:{port}/metrics" for host, port in metrics if port
        ]
        lines += ["", "Models:", *self._models(), "", "A token for development:"]
        token = f"{self._command('token')} --subject dev --scope complete_code"
        lines.append(f"  {token} duo_chat ai_gateway_model_provider_proxy")
        if self._settings.instance.enabled:
            lines += ["", "A token for clients of GitLab, such as OpenCode:"]
            lines.append(f"  {self._command('tokens')} create --name NAME")
        lines += ["", "Try it:"]
        return "\n".join([*lines, f"  {self._curl(started.address, token)}", "", ""])

    def _models(self) -> list[str]:
        providers = self._settings.providers
        lines: list[str] = []
        if providers.anthropic.api_key.get_secret_value():
            lines.append(f"  anthropic  {providers.anthropic.base_url}")
        if providers.openai.api_key.get_secret_value() or providers.openai.base_url != _OPENAI:
            lines.append(f"  openai     {providers.openai.base_url}")
        if not lines:
            lines += [
                "  none configured: completions come from the open file and its context (local),",
                "  sessions run a scripted tour, which is labelled as such.",
                "  Set ANTHROPIC_API_KEY, OPENAI_API_KEY or ISTHMUS_PROVIDERS__OPENAI__BASE_URL.",
            ]
            if _listens(OLLAMA):
                url = f"http://{OLLAMA[0]}:{OLLAMA[1]}/v1"
                lines.append(
                    f"  An Ollama answers here: ISTHMUS_PROVIDERS__OPENAI__BASE_URL={url} uses it."
                )
        return lines

    def _command(self, name: str) -> str:
        program = shlex.quote(str(Path(sys.argv[0])))
        data = self._settings.data_dir
        where = "" if data == Path("var") else f"ISTHMUS_DATA_DIR={shlex.quote(str(data))} "
        return f"{where}{program} {name}"

    def _curl(self, address: str, token: str) -> str:
        body = (
            '{"prompt_version":1,"current_file":{"file_name":"a.py","content_above_cursor":'
            '"def add(a, b):\\n    return a + b\\n\\ndef sub(a, b):\\n    ret",'
            '"content_below_cursor":"\\n"}}'
        )
        return (
            f"curl -s {address}/v2/code/completions "
            f'-H "Authorization: Bearer $({token})" '
            "-H 'X-Gitlab-Authentication-Type: oidc' -H 'X-Gitlab-Instance-Id: dev' "
            f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
        )


def _listens(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, OLLAMA_WAIT_S).close()
    except OSError:
        return False
    return True

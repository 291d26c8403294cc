"""The mock upstream: nginx answering recorded bytes, faster than anything that it feeds."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.machine import CLIENT_CORE, free_port, wait_for_port

MESSAGE = (
    '{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-6",'
    '"content":[{"type":"text","text":"' + "All good. " * 80 + '"}],"stop_reason":"end_turn",'
    '"stop_sequence":null,"usage":{"input_tokens":210,"output_tokens":160}}'
)
COMPLETION_STREAM = (
    'data: {"id":"cmpl-1","object":"text_completion","created":1790000000,"model":"m",'
    '"choices":[{"text":"return a + b","index":0,"logprobs":null,"finish_reason":null}]}\n\n'
    'data: {"id":"cmpl-1","object":"text_completion","created":1790000000,"model":"m",'
    '"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}]}\n\n'
    'data: {"id":"cmpl-1","object":"text_completion","created":1790000000,"model":"m",'
    '"choices":[],"usage":{"prompt_tokens":210,"completion_tokens":6,"total_tokens":216}}\n\n'
    "data: [DONE]\n\n"
)
CHAT = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"gpt-5",'
    '"choices":[{"index":0,"message":{"role":"assistant","content":"'
    + "All good. "
    * 80
    + '"},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":210,"completion_tokens":160,"total_tokens":370}}'
)


def _stream() -> str:
    head = (
        'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_01",'
        '"type":"message","role":"assistant","model":"claude-sonnet-4-6","content":[],'
        '"stop_reason":null,"usage":{"input_tokens":210,"output_tokens":1}}}\n\n'
        'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        '"content_block":{"type":"text","text":""}}\n\n'
    )
    delta = (
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        '"delta":{"type":"text_delta","text":"All good. "}}\n\n'
    )
    tail = (
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        'event: message_delta\ndata: {"type":"message_delta","delta":'
        '{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":160}}\n\n'
        'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    return head + delta * 20 + tail


CONFIG = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s; tcp_nodelay on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  root {folder}/www;
  upstream mock {{ server 127.0.0.1:{port}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} reuseport backlog=4096;
    location = /v1/messages {{ default_type application/json; return 200 '{message}'; }}
    location = /v1/chat/completions {{ default_type application/json; return 200 '{chat}'; }}
    default_type text/event-stream;
    location = /v1/completions {{ return 200 '{completion_stream}'; }}
    location = /stream/v1/messages {{ return 200 '{stream}'; }}
  }}
}}
"""
PROXY = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; tcp_nodelay on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream mock {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


@contextmanager
def mock_upstream(folder: Path) -> Iterator[int]:
    """nginx on the load generator's core; yields its port."""
    port = free_port()
    text = CONFIG.format(
        folder=folder / "mock",
        port=port,
        message=MESSAGE,
        chat=CHAT,
        completion_stream=COMPLETION_STREAM,
        stream=_stream(),
    )
    with nginx(folder / "mock", text, CLIENT_CORE) as _:
        wait_for_port(port)
        yield port


@contextmanager
def nginx_proxy(folder: Path, upstream: int, core: int) -> Iterator[tuple[int, int]]:
    """nginx `proxy_pass` in front of the mock, for comparison; yields its port and process id."""
    port = free_port()
    text = PROXY.format(folder=folder / "proxy", port=port, upstream=upstream)
    with nginx(folder / "proxy", text, core) as pid:
        wait_for_port(port)
        yield port, pid


@contextmanager
def nginx(folder: Path, text: str, core: int) -> Iterator[int]:
    """One nginx with this configuration, pinned to a core; yields its process id."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nginx.conf"
    config.write_text(text, encoding="utf-8")
    command = ["taskset", "-c", str(core), "nginx", "-e", str(folder / "error.log"), "-c"]
    process = subprocess.Popen([*command, str(config)])
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()

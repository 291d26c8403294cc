"""A real nginx in front of a server, as it should be set up, or not."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.authority import Signed
from tests.support.ports import answers, free_ports
from tests.support.servers import Missing, running

FRONT = """
proxy_http_version 1.1;
proxy_buffering off;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $connection_upgrade;
proxy_set_header Host $http_host;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_set_header X-Forwarded-Proto $scheme;
"""
"""What the HTTP side says when all is well."""

_PAGE = """
daemon off;
master_process off;
error_log {folder}/error.log;
pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
  access_log off;
  {temporary}
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  server {{
    listen 127.0.0.1:{http} {tls};
    {pair}
    location / {{ {front} proxy_pass http://127.0.0.1:{upstream}; }}
  }}
  server {{
    listen 127.0.0.1:{grpc} {tls} http2;
    {pair}
    location / {{ {back} }}
  }}
}}
"""


@dataclass(frozen=True)
class Front:
    """Where it answers, as `--via` takes it."""

    http: str
    grpc: str


@contextmanager
def nginx(
    folder: Path,
    front: str,
    http: int,
    grpc: int,
    pair: Signed | None = None,
    *,
    passes_grpc: bool = True,
) -> Iterator[Front | Missing]:
    """nginx on free ports before these ports; `front` is what its HTTP side says."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        yield Missing("nginx is not installed")
        return
    folder.mkdir()
    ports = free_ports(2)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    files = "" if pair is None else f"ssl_certificate {pair.chain}; ssl_certificate_key {pair.key};"
    back = "grpc_pass" if passes_grpc else "proxy_pass"
    page = _PAGE.format(
        folder=folder,
        temporary=" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds),
        http=ports[0],
        grpc=ports[1],
        tls="" if pair is None else "ssl",
        pair=files,
        front=front,
        back=f"{back} {'grpc' if passes_grpc else 'http'}://127.0.0.1:{grpc};",
        upstream=http,
    )
    (folder / "nginx.conf").write_text(page, encoding="utf-8")
    log = folder / "error.log"
    log.touch()
    if os.geteuid() == 0:
        page = f"user root;\n{page}"
        (folder / "nginx.conf").write_text(page, encoding="utf-8")
    command = [program, "-e", str(log), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with running(command, ports[0], folder) as up:
        if not up or not answers(ports[1]):
            yield Missing(f"nginx did not start: {log.read_text(encoding='utf-8')[-500:]}")
            return
        secure = "" if pair is None else "s"
        yield Front(f"http{secure}://localhost:{ports[0]}", f"grpc{secure}://localhost:{ports[1]}")

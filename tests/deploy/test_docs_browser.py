"""A real browser opens pages of the site, and tells what they would load from elsewhere."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.guide import ROOT

POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; report-uri /told"
"""What is loaded from elsewhere is refused, and the browser reports it."""
FAR = '<!doctype html><title>far</title><script src="http://elsewhere.example/a.js"></script>'
BUTTON = "md-code__button"
PAGES = ("index.html", "guide/install.html", "reference/settings.html")


@dataclass
class Served:
    """A folder on a port: what was asked for, and what the browser would not load."""

    url: str = ""
    asked: list[str] = field(default_factory=list[str])
    told: list[str] = field(default_factory=list[str])


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    served = Served()

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("content-security-policy", POLICY)
            super().end_headers()

        def do_GET(self) -> None:
            served.asked.append(self.path)
            super().do_GET()

        def do_POST(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            served.told.append(self.rfile.read(size).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
            """Say nothing."""

    handler = partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        served.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def visit(url: str, profile: Path) -> str:
    """What the page has become when its scripts have run."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("chromium is missing: .ci/system installs it")
    own = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
    quiet = ("--disable-background-networking", "--no-first-run", "--no-proxy-server")
    words = [*own, *quiet, f"--user-data-dir={profile}", "--virtual-time-budget=3000"]
    done = subprocess.run(
        [program, *words, "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    return done.stdout


def test_a_page_that_loads_from_elsewhere_would_be_told(tmp_path: Path) -> None:
    (tmp_path / "far.html").write_text(FAR, encoding="utf-8")
    with serving(tmp_path) as served:
        visit(f"{served.url}/far.html", tmp_path / "profile")
    assert any("elsewhere.example" in report for report in served.told)


def test_the_pages_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    words = ["-m", "mkdocs", "build", "--quiet", "--site-dir", str(site)]
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, timeout=300)
    with serving(site) as served:
        for page in PAGES:
            shown = visit(f"{served.url}/{page}", tmp_path / "profile")
            assert "md-content" in shown, page
            if page != PAGES[0]:
                # Scripts have run: they alone put buttons beside the code.
                assert BUTTON in shown
                assert BUTTON not in (site / page).read_text(encoding="utf-8")
    assert any(path.endswith(".js") for path in served.asked)
    assert served.told == []

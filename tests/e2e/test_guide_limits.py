"""The example of docs/guide/limits.md, as a person would follow it."""

import http.client
import json
import re
from pathlib import Path

import pytest
import yaml

from isthmus.settings import load
from tests.support.guide import blocks
from tests.support.process import running_server


@pytest.mark.parametrize("example", blocks("limits", "yaml"))
def test_every_example_can_be_read(example: str, tmp_path: Path) -> None:
    path = tmp_path / "limits.yml"
    path.write_text(example, encoding="utf-8")
    found = load(path, environ={}).limits
    assert len(found.rules) == len(yaml.safe_load(example)["limits"].get("rules", []))


def test_the_third_answer_is_the_one_that_the_page_shows(tmp_path: Path) -> None:
    (tmp_path / "limits.yml").write_text(blocks("limits", "yaml")[0], encoding="utf-8")
    (script,), (shown,) = blocks("limits", "sh"), blocks("limits", "http")
    found = re.search(r"-d '(.*)'", script)
    assert found
    with running_server(tmp_path, arguments=("--config", "limits.yml")) as server:
        headers = server.headers("complete_code") | {"content-type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=30)
        replies: list[tuple[http.client.HTTPResponse, bytes]] = []
        for _ in range(3):
            connection.request("POST", "/v2/code/completions", found[1].encode(), headers)
            got = connection.getresponse()
            replies.append((got, got.read()))
        connection.close()
    assert [reply.status for reply, _ in replies] == [200, 200, 429]
    assert [reply.headers["ratelimit-remaining"] for reply, _ in replies] == ["1", "0", "0"]
    reply, body = replies[-1]
    head, _, told = shown.partition("\n\n")
    assert json.loads(told) == json.loads(body)
    for line in head.splitlines()[1:]:
        name, _, value = line.partition(": ")
        # Only times differ.
        if name in {"retry-after", "ratelimit-reset"}:
            assert 3_000 < int(reply.headers[name]) <= 3_660
        else:
            assert reply.headers[name] == value

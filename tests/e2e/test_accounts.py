"""Accounts and a running server: what the command line changes counts at once."""

from pathlib import Path

import httpx

from tests.support.process import RunningServer, running_server

API = "/api/v4"
FILE = {
    "file_name": "a.py",
    "content_above_cursor": "def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    ret",
    "content_below_cursor": "\n",
}


def done(server: RunningServer, line: str) -> str:
    ran = server.command(*line.split())
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_a_new_token_reaches_every_part_of_the_server(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        _reach(server)


def _reach(server: RunningServer) -> None:
    token = done(server, "tokens create --name editor")
    with httpx.Client(base_url=server.url, headers={"private-token": token}) as http:
        assert http.get(f"{API}/user").json()["username"] == "local"
        project = http.get(f"{API}/projects/my%2Fteam%2Fapp")
        assert project.json()["path_with_namespace"] == "my/team/app"
        assert http.get(f"{API}/projects/my%2Fteam%2Fapp/issues").status_code == 404
        access = http.post(f"{API}/code_suggestions/direct_access").json()
        assert access["base_url"] == server.url
        session = http.post(f"{API}/ai/duo_workflows/direct_access", json={}).json()
        service = session["duo_workflow_service"]
        assert service["base_url"] == f"127.0.0.1:{server.grpc}"
        proxies = http.post(f"{API}/ai/third_party_agents/direct_access").json()
    bearer = {"authorization": f"Bearer {access['token']}"}
    body = {"prompt_version": 1, "current_file": FILE}
    url = f"{access['base_url']}/v2/code/completions"
    completed = httpx.post(url, headers=access["headers"] | bearer, json=body)
    assert completed.status_code == 200, completed.text
    assert completed.json()["choices"]
    # The proxy knows the caller: what it lacks is a model.
    bearer = {"authorization": f"Bearer {proxies['token']}"}
    url = f"{server.url}/ai/v1/proxy/anthropic/v1/messages"
    asked = httpx.post(url, headers=proxies["headers"] | bearer, json={"model": "none"})
    assert asked.status_code == 400, asked.text
    assert httpx.post(url, headers=proxies["headers"], json={"model": "none"}).status_code == 401
    for secret in (token, access["token"], session["gitlab_rails"]["token"]):
        assert secret not in server.log
    done(server, "users disable local")
    out = httpx.get(f"{server.url}{API}/user", headers={"private-token": token})
    assert out.status_code == 401

"""Faults that are put into a real set-up, one at a time: the doctor names each, and its mend."""

import json
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from isthmus.auth.issue import new_private_key_pem
from tests.support.authority import Authority, new_key, write_key
from tests.support.doctor_stand import Answers, Examined, answering, delayed, examine, gitlab
from tests.support.fixtures_store import required
from tests.support.ports import free_port
from tests.support.postgres import postgres_server
from tests.support.servers import Missing, Server, running, scratch
from tests.support.tokens import jwk_of, payload, pem_of, private_key, signed
from tests.support.vendor_stream import STREAM


@dataclass
class Bench:
    """A set-up to break: variables and arguments of the command, and what must be closed."""

    folder: Path
    stack: ExitStack
    settings: dict[str, str] = field(default_factory=dict[str, str])
    arguments: list[str] = field(default_factory=list[str])
    prefix: list[str] = field(default_factory=list[str])

    def put(self, path: str, value: object) -> None:
        self.settings[f"ISTHMUS_{path.upper().replace('.', '__')}"] = str(value)

    def authority(self, name: str = "Test Root") -> Authority:
        return Authority(self.folder / name.replace(" ", "-"), name)

    def tls(self, days: int = 90, names: tuple[str, ...] = ("localhost",)) -> Path:
        """The HTTP listener by TLS, with a root that is trusted; the path of its key."""
        authority = self.authority()
        pair = authority.sign("listener", names, days)
        self.put("http.tls.enabled", "true")
        self.put("http.tls.cert_file", pair.chain)
        self.put("http.tls.key_file", pair.key)
        self.put("outbound.ca_file", authority.root)
        return pair.key

    def issuer(self) -> Answers:
        """An instance that is well."""
        answers = self.stack.enter_context(gitlab())
        self.put("auth.gitlab_url", answers.url)
        return answers

    def vendor(self) -> Answers:
        """A model server that has one model, `small`."""
        answers = self.stack.enter_context(answering())
        answers.by_path["/v1/chat/completions"] = 200, "text/event-stream", STREAM
        answers.by_path["/v1/completions"] = 200, "text/event-stream", STREAM
        self.put("providers.openai.base_url", f"{answers.url}/v1")
        self.put("providers.openai.api_key", "key-of-the-vendor")
        self.put("providers.openai.model", "small")
        return answers

    def listed(self, **urls: str) -> None:
        """Instances by name, in the settings file."""
        tree = {"instances": {name: {"url": url} for name, url in urls.items()}}
        (self.folder / "isthmus.yml").write_text(json.dumps(tree), encoding="utf-8")

    def token(self, **claims: object) -> None:
        """A token of the instance, in a file."""
        self.signed(self.issuer().url, **claims)

    def signed(self, issuer: str, **claims: object) -> None:
        """A token that names this issuer, in a file."""
        now = int(time.time())
        told = {"iss": issuer, "iat": now - 60, "nbf": now - 60, "exp": now + 3600} | claims
        file = self.folder / "token"
        file.write_text(signed(payload(**told)), encoding="ascii")
        self.arguments += ["--token-file", str(file)]


@dataclass(frozen=True)
class Named:
    """The finding that a fault must come to: its name, its setting, and a word of its cause."""

    name: str
    setting: str
    word: str
    code: int = 3


def weak_key(bench: Bench) -> None:
    bench.put("auth.signing_key", pem_of(private_key("weak", 1024)))


def not_a_key(bench: Bench) -> None:
    bench.put("auth.platform_signing_key", "not a key at all")


def same_validation_key(bench: Bench) -> None:
    pem = new_private_key_pem().decode()
    bench.put("auth.signing_key", pem)
    bench.put("auth.validation_key", pem)


def other_pair(bench: Bench) -> None:
    write_key(bench.tls(), new_key())


def expired(bench: Bench) -> None:
    bench.tls(days=-3)


def wrong_name(bench: Bench) -> None:
    bench.tls(names=("internal.example",))
    bench.put("instance.external_url", "https://ai.example")


def incomplete_chain(bench: Bench) -> None:
    key = bench.tls()
    bench.put("http.tls.cert_file", key.with_name("listener.leaf.pem"))


def ends_soon(bench: Bench) -> None:
    bench.tls(days=5)


def nameless(bench: Bench) -> None:
    bench.tls(names=())


def weak_certificate(bench: Bench) -> None:
    bench.tls()
    pair = bench.authority().sign("weak", key=private_key("weak", 1024))
    bench.put("http.tls.cert_file", pair.chain)
    bench.put("http.tls.key_file", pair.key)


def garbled_certificate(bench: Bench) -> None:
    key = bench.tls()
    key.with_name("listener.chain.pem").write_text("garbled", encoding="ascii")


def sealed_key(bench: Bench) -> None:
    bench.tls()
    sealed = bench.folder / "sealed.pem"
    write_key(sealed, new_key(), b"password")
    bench.put("http.tls.key_file", sealed)


def open_tls_key(bench: Bench) -> None:
    bench.tls().chmod(0o644)


def open_made_key(bench: Bench) -> None:
    made = bench.folder / "var" / "signing_key.pem"
    made.parent.mkdir()
    made.write_bytes(new_private_key_pem())
    made.chmod(0o644)


def spoilt_made_key(bench: Bench) -> None:
    made = bench.folder / "var" / "signing_key.pem"
    made.parent.mkdir()
    made.touch(0o600)
    made.write_bytes(b"-----BEGIN PRIVATE KEY-----\nspoilt\n-----END PRIVATE KEY-----\n")


def issuer_down(bench: Bench) -> None:
    bench.put("auth.gitlab_url", f"http://127.0.0.1:{free_port()}")


def issuer_unknown(bench: Bench) -> None:
    bench.put("auth.gitlab_url", "https://gitlab.invalid")


def other_authority(bench: Bench) -> None:
    answers = bench.stack.enter_context(gitlab(bench.authority("Other").sign("gitlab")))
    bench.put("auth.gitlab_url", answers.url)
    bench.put("outbound.ca_file", bench.authority().root)


def no_jwks_uri(bench: Bench) -> None:
    bench.issuer().put("/.well-known/openid-configuration", {"issuer": "x"})


def no_keys(bench: Bench) -> None:
    bench.issuer().put("/oauth/discovery/keys", {"keys": []})


def wrong_address(bench: Bench) -> None:
    answers = bench.issuer()
    answers.by_path["/.well-known/openid-configuration"] = 200, "text/html", b"<html>"


def other_audience(bench: Bench) -> None:
    bench.token(aud="somebody-else")


def of_another_instance(bench: Bench) -> None:
    acme, other = (bench.stack.enter_context(gitlab()) for _ in range(2))
    other.put("/oauth/discovery/keys", {"keys": [jwk_of(private_key("other"))]})
    bench.listed(acme=acme.url, other=other.url)
    bench.signed(other.url)  # by the key of acme


def instance_down(bench: Bench) -> None:
    bench.listed(acme=f"http://127.0.0.1:{free_port()}")


def other_issuer(bench: Bench) -> None:
    bench.token(iss="https://other.example")
    bench.settings["ISTHMUS_AUTH__GITLAB_URL"] = ""


def old_token(bench: Bench) -> None:
    bench.token(exp=int(time.time()) - 100)


def forged_token(bench: Bench) -> None:
    bench.token()
    claims = payload(iss=bench.settings["ISTHMUS_AUTH__GITLAB_URL"], exp=None, iat=1, nbf=1)
    forged = signed(claims, private_key("forger"))
    (bench.folder / "token").write_text(forged, encoding="ascii")


def skewed_clock(bench: Bench) -> None:
    bench.issuer().ahead_s = 600.0


def key_refused(bench: Bench) -> None:
    vendor = bench.vendor()
    for path in list(vendor.by_path):
        vendor.put(path, {"error": {"code": "invalid_api_key", "message": "no"}}, 401)


def vendor_away(bench: Bench) -> None:
    bench.vendor()
    bench.put("providers.openai.base_url", f"http://127.0.0.1:{free_port()}/v1")


def model_absent(bench: Bench) -> None:
    vendor = bench.vendor()
    for path in list(vendor.by_path):
        vendor.put(path, {"error": {"code": "model_not_found", "message": "no"}}, 404)


def wrong_path(bench: Bench) -> None:
    vendor = bench.vendor()
    bench.put("providers.openai.base_url", vendor.url)


def vendor_of_another_authority(bench: Bench) -> None:
    bench.vendor()
    vendor = bench.stack.enter_context(answering(bench.authority("Other").sign("vendor")))
    bench.put("providers.openai.base_url", f"{vendor.url}/v1")


def proxy_refuses(bench: Bench) -> None:
    bench.vendor()
    bench.put("outbound.proxy_url", bench.stack.enter_context(answering()).url)
    bench.put("providers.openai.base_url", "https://vendor.invalid/v1")


def vendor_breaks_off(bench: Bench) -> None:
    vendor = bench.vendor()
    for path in list(vendor.by_path):
        vendor.by_path[path] = 200, "text/event-stream", STREAM.partition(b"data: [DONE]")[0][:90]


def not_streaming(bench: Bench) -> None:
    vendor = bench.vendor()
    whole = {"choices": [{"message": {"role": "assistant", "content": "Yes"}, "text": "Yes"}]}
    for path in list(vendor.by_path):
        vendor.put(path, whole)


def database_down(bench: Bench) -> None:
    bench.put("database.url", f"postgresql://isthmus:secret@127.0.0.1:{free_port()}/isthmus")


def schema_at(bench: Bench, step: str) -> None:
    data = bench.folder / "var"
    data.mkdir(mode=0o700)
    with sqlite3.connect(data / "isthmus.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (step,))
    connection.close()


def schema_behind(bench: Bench) -> None:
    schema_at(bench, "0001")
    bench.put("database.migrate", "false")


def schema_ahead(bench: Bench) -> None:
    schema_at(bench, "9999")


def no_database(bench: Bench) -> None:
    data = bench.folder / "var"
    data.mkdir(mode=0o700)
    (data / "isthmus.db").write_bytes(b"this is no database" * 100)


def store_down(bench: Bench) -> None:
    bench.put("limits.url", f"redis://127.0.0.1:{free_port()}/0")


def store_locked(bench: Bench) -> None:
    server = required(bench.stack.enter_context(redis(bench.folder, "--requirepass", "right")))
    bench.put("limits.url", server.url.replace("redis://", "redis://:wrong@"))


def store_evicts(bench: Bench) -> None:
    policy = "--maxmemory-policy", "allkeys-lru"
    server = required(bench.stack.enter_context(redis(bench.folder, *policy)))
    bench.put("limits.url", server.url)


def read_only(bench: Bench) -> None:
    bench.put("data_dir", "/sys/isthmus")


def not_a_folder(bench: Bench) -> None:
    file = bench.folder / "file"
    file.touch()
    bench.put("data_dir", file)


def port_taken(bench: Bench) -> None:
    listener = bench.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    bench.put("grpc.port", listener.getsockname()[1])


def web_port_taken(bench: Bench) -> None:
    bench.put("http.port", bench.stack.enter_context(answering()).port)


def not_our_address(bench: Bench) -> None:
    bench.put("http.host", "192.0.2.1")


def bypass(bench: Bench) -> None:
    bench.put("auth.bypass_external", "true")


def nothing_checked(bench: Bench) -> None:
    bench.put("outbound.verify", "false")


def misspelled(bench: Bench) -> None:
    bench.settings["AIGW_GITLAB_ULR"] = "https://gitlab.example"


def unknown_setting(bench: Bench) -> None:
    bench.settings["ISTHMUS_HTTP__PROT"] = "5052"


def no_proxy_there(bench: Bench) -> None:
    bench.put("outbound.proxy_url", f"http://127.0.0.1:{free_port()}")


def trusts_everybody(bench: Bench) -> None:
    bench.put("http.trusted_proxies", "*")


def empty_bundle(bench: Bench) -> None:
    bundle = bench.folder / "ca.pem"
    bundle.write_text("nothing", encoding="ascii")
    bench.put("outbound.ca_file", bundle)


def collector_away(bench: Bench) -> None:
    bench.put("tracing.enabled", "true")
    bench.put("tracing.endpoint", f"http://127.0.0.1:{free_port()}/v1/traces")


def no_certificate_file(bench: Bench) -> None:
    bench.tls()
    bench.put("http.tls.cert_file", bench.folder / "nowhere.pem")


def no_log(bench: Bench) -> None:
    bench.put("logging.file", "/sys/isthmus.log")


def platform_away(bench: Bench) -> None:
    bench.put("transports", "http")
    bench.put("platform.url", f"127.0.0.1:{free_port()}")
    bench.put("platform.secure", "false")


def mcp_away(bench: Bench) -> None:
    bench.put("mcp.servers", '{"far": {"command": "no-such-program"}}')


def signin_away(bench: Bench) -> None:
    bench.put("instance.oidc.issuer", f"http://127.0.0.1:{free_port()}")
    bench.put("runners.kind", "none")


def one_clock_of_two(bench: Bench) -> None:
    bench.issuer().ahead_s = 600.0
    bench.vendor()


def few_files(bench: Bench) -> None:
    bench.prefix = ["bash", "-c", 'ulimit -n 200; exec "$@"', "bash"]


FAULTS: dict[Callable[[Bench], None], Named] = {
    weak_key: Named("keys.signing", "auth.signing_key", "2048 bits"),
    not_a_key: Named("keys.signing", "auth.platform_signing_key", "PEM"),
    same_validation_key: Named("keys.validation", "auth.validation_key", "same key", 1),
    other_pair: Named("tls.http", "http.tls.key_file", "not the key"),
    expired: Named("tls.http", "http.tls.cert_file", "expired"),
    wrong_name: Named("tls.http", "http.tls.cert_file", "ai.example"),
    incomplete_chain: Named("tls.http", "http.tls.cert_file", "chain is not complete"),
    ends_soon: Named("tls.http", "http.tls.cert_file", "expires on", 1),
    nameless: Named("tls.http", "http.tls.cert_file", "subjectAltName"),
    weak_certificate: Named("tls.http", "http.tls.cert_file", "1024 bits"),
    garbled_certificate: Named("tls.http", "http.tls.cert_file", "no PEM certificate"),
    sealed_key: Named("tls.http", "http.tls.key_file", "encrypted"),
    open_tls_key: Named("files.http_tls_key", "http.tls.key_file", "mode 644"),
    open_made_key: Named("files.signing_key", "data_dir", "mode 644"),
    spoilt_made_key: Named("keys.made", "data_dir", "PEM"),
    issuer_down: Named("issuers", "auth.gitlab_url", "nothing listens"),
    issuer_unknown: Named("issuers", "auth.gitlab_url", "name server"),
    other_authority: Named("issuers", "outbound.ca_file", "not trusted"),
    no_jwks_uri: Named("issuers", "auth.gitlab_url", "jwks_uri"),
    no_keys: Named("issuers", "auth.gitlab_url", "no usable RSA"),
    wrong_address: Named("issuers", "auth.gitlab_url", "cannot be used"),
    other_audience: Named("token", "auth.service_name", "audience"),
    of_another_instance: Named("token", "instances.other.url", "none of its keys"),
    instance_down: Named("issuers", "instances.acme.url", "nothing listens"),
    other_issuer: Named("token", "auth.gitlab_url", "https://other.example"),
    old_token: Named("token", "the token, or a clock", "expired"),
    forged_token: Named("token", "auth.gitlab_url", "signature"),
    skewed_clock: Named("clock", "the system's clock", "behind"),
    key_refused: Named("models.openai", "providers.openai.api_key", "refuses our key"),
    vendor_away: Named("models.openai", "providers.openai.base_url", "nothing listens"),
    model_absent: Named("models.openai", "providers.openai.model", "no model `small`"),
    wrong_path: Named("models.openai", "providers.openai.base_url", "status 404"),
    vendor_of_another_authority: Named("models.openai", "outbound.ca_file", "not trusted"),
    proxy_refuses: Named("models.openai", "outbound.proxy_url", "tunnel"),
    vendor_breaks_off: Named("models.openai", "providers.openai.base_url", "localhost"),
    not_streaming: Named("models.openai", "providers.openai.base_url", "in one piece"),
    database_down: Named("database", "database.url", "nothing listens"),
    schema_behind: Named("database", "database.migrate", "0001"),
    schema_ahead: Named("database", "database.url", "9999", 1),
    no_database: Named("database", "database.url", "no sound database"),
    store_down: Named("limits", "limits.url", "nothing answers"),
    store_locked: Named("limits", "limits.url", "password"),
    store_evicts: Named("limits", "limits.url", "allkeys-lru", 1),
    read_only: Named("disk", "data_dir", "/sys"),
    not_a_folder: Named("disk", "data_dir", "no folder"),
    port_taken: Named("listeners.grpc", "grpc.port", "taken by"),
    web_port_taken: Named("listeners.http", "http.port", "taken by"),
    not_our_address: Named("listeners.http", "http.port", "no address of this machine"),
    bypass: Named("modes", "auth.bypass_external", "debug user"),
    nothing_checked: Named("modes", "outbound.verify", "not checked"),
    misspelled: Named("settings.variable", "auth.gitlab_url", "AIGW_GITLAB_URL", 1),
    unknown_setting: Named("settings", "ISTHMUS_HTTP__PROT", "ISTHMUS_HTTP__PORT", 2),
    no_proxy_there: Named("egress", "outbound.proxy_url", "nothing listens"),
    trusts_everybody: Named("proxies", "http.trusted_proxies", "everybody", 1),
    empty_bundle: Named("trust", "outbound.ca_file", "no certificate"),
    collector_away: Named("egress", "tracing.endpoint", "nothing listens"),
    no_certificate_file: Named("settings", "http.tls", "cert_file", 2),
    no_log: Named("disk.log", "logging.file", "may not write"),
    platform_away: Named("platform", "platform.url", "no agent platform"),
    mcp_away: Named("mcp", "mcp.servers", "FileNotFoundError", 1),
    signin_away: Named("issuers", "instance.oidc.issuer", "nothing listens"),
    few_files: Named("process.files", "LimitNOFILE of the unit, or ulimit", "200"),
}


@pytest.mark.parametrize("broken", FAULTS, ids=lambda one: one.__name__)
def test_a_fault_is_named_with_its_setting_and_its_mend(
    broken: Callable[[Bench], None], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        bench = Bench(tmp_path, stack)
        broken(bench)
        seen = examine(tmp_path, bench.settings, *bench.arguments, prefix=bench.prefix)
    wanted = FAULTS[broken]
    assert named(seen, wanted), seen.found
    assert seen.code == wanted.code
    assert all(one["cause"] and one["mend"] for one in seen.found), seen.found


def named(seen: Examined, wanted: Named) -> bool:
    return any(
        one["name"] == wanted.name
        and one["setting"] == wanted.setting
        and wanted.word in one["cause"]
        for one in seen.found
    )


def test_one_wrong_clock_of_two_is_not_taken_for_ours(tmp_path: Path) -> None:
    with ExitStack() as stack:
        bench = Bench(tmp_path, stack)
        one_clock_of_two(bench)
        seen = examine(tmp_path, bench.settings)
    (found,) = seen.found
    assert found["name"] == "clock"
    assert found["setting"].startswith("the clock of localhost")
    assert seen.code == 1


def test_a_database_that_refuses_is_named(tmp_path: Path) -> None:
    with postgres_server() as found:
        user, _, place = required(found).url.partition("://")[2].partition("@")
        host, _, name = place.partition("/")
        wrong = {
            f"postgresql://nobody_here:pw@{host}/{name}": "the user, or the password",
            f"postgresql://{user}@{host}/nowhere": "no database of that name",
        }
        for url, word in wrong.items():
            seen = examine(tmp_path, {"ISTHMUS_DATABASE__URL": url})
            assert named(seen, Named("database", "database.url", word)), seen.found


def test_a_database_that_is_far_away_is_named(tmp_path: Path) -> None:
    with postgres_server() as found, delayed(required(found).url, 0.15) as url:
        seen = examine(tmp_path, {"ISTHMUS_DATABASE__URL": url})
    assert named(seen, Named("database", "database.url", "ms to answer")), seen.found


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=128k tmpfs {disk}"
    trial = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount], capture_output=True, text=True, check=False
    )
    if trial.returncode:
        required(Missing(f"no file system of its own for a test: {trial.stderr.strip()}"))
    prefix = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    seen = examine(tmp_path, {"ISTHMUS_DATA_DIR": str(disk)}, prefix=prefix)
    assert named(seen, Named("disk", "data_dir", "full"))
    assert seen.code == 3


def test_a_key_that_this_user_may_not_read_is_named() -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(scratch("is-doctor-"))
        folder.chmod(0o755)
        bench = Bench(folder, stack)
        key = bench.tls()
        key.chmod(0)
        drop = ["setpriv", "--reuid=65534", "--clear-groups"] if key.owner() == "root" else []
        seen = examine(folder, bench.settings, prefix=drop)
    assert named(seen, Named("files.http_tls_key", "http.tls.key_file", "may not read"))


@contextmanager
def redis(folder: Path, *arguments: str) -> Iterator[Server | Missing]:
    """A Redis or Valkey of this test's own."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        yield Missing("neither Valkey nor Redis is installed")
        return
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", *arguments]
    with running(command, port, folder) as up:
        yield Server(f"redis://127.0.0.1:{port}/0") if up else Missing(f"{program} did not start")


def test_there_are_enough_of_them() -> None:
    assert len(FAULTS) >= 25

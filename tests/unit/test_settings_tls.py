"""What the settings of a listener's TLS must agree on."""

from pathlib import Path

import pytest

from isthmus.settings import SettingsError, load


@pytest.fixture
def pem(tmp_path: Path) -> str:
    path = tmp_path / "all.pem"
    path.write_text("PEM")
    return str(path)


def settings(listener: str, given: dict[str, str]) -> dict[str, str]:
    return {f"ISTHMUS_{listener}__TLS__{name.upper()}": value for name, value in given.items()}


@pytest.mark.parametrize("listener", ["HTTP", "GRPC"])
def test_clients_are_asked_where_it_is_said_by_whom_they_are_vouched_for(
    listener: str, pem: str
) -> None:
    on = {"enabled": "true", "cert_file": pem, "key_file": pem, "client_auth": "required"}
    found = load(environ=settings(listener, on | {"client_ca_file": pem}))
    tls = found.http.tls if listener == "HTTP" else found.grpc.tls
    assert (tls.client_auth, str(tls.client_ca_file)) == ("required", pem)
    for wrong, why in (
        (on, "`client_ca_file` must name an existing file"),
        (on | {"client_ca_file": f"{pem}.not"}, "`client_ca_file` must name an existing file"),
        ({"client_auth": "required", "client_ca_file": pem}, "needs TLS to be enabled"),
        (on | {"client_auth": "sometimes", "client_ca_file": pem}, "client_auth"),
    ):
        with pytest.raises(SettingsError, match=why):
            load(environ=settings(listener, wrong))


def test_grpc_asks_everybody_or_nobody(pem: str) -> None:
    given = {"enabled": "true", "cert_file": pem, "key_file": pem, "client_auth": "optional"}
    given |= {"client_ca_file": pem}
    assert load(environ=settings("HTTP", given)).http.tls.client_auth == "optional"
    with pytest.raises(SettingsError, match="`none` or `required`"):
        load(environ=settings("GRPC", given))

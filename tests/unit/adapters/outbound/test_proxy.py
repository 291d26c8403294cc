"""Which calls go through a proxy, and how a proxy is named."""

import pytest

from isthmus.adapters.outbound.proxy import NoProxy, Proxy, proxy_of
from isthmus.adapters.outbound.target import Origin
from isthmus.settings import SettingsError


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("", None),
        ("http://proxy:3128", Proxy("proxy", 3128)),
        ("proxy:3128", Proxy("proxy", 3128)),
        ("http://proxy/", Proxy("proxy", 80)),
        ("http://[::1]:3128", Proxy("::1", 3128)),
        ("http://a:b%3A@proxy:1", Proxy("proxy", 1, "Basic YTpiOg==")),
    ],
)
def test_a_proxy_is_named(url: str, proxy: Proxy | None) -> None:
    assert proxy_of(url) == proxy


@pytest.mark.parametrize(
    "url", ["https://a:secret@p:1", "socks5://p:1", "http://", "http://p:port", "http://pröxy:1"]
)
def test_a_proxy_that_is_none(url: str) -> None:
    with pytest.raises(SettingsError, match=r"outbound\.proxy_url") as raised:
        proxy_of(url)
    assert "secret" not in str(raised.value)


def test_a_proxys_password_is_not_shown() -> None:
    assert "YTpi" not in repr(proxy_of("http://a:b@p:1"))


@pytest.mark.parametrize(
    ("entry", "host", "port", "direct"),
    [
        ("*", "anything.test", 443, True),
        ("example.test", "example.test", 443, True),
        ("example.test", "a.b.example.test", 443, True),
        ("example.test", "notexample.test", 443, False),
        (".example.test", "a.example.test", 443, True),
        ("*.example.test", "a.example.test", 443, True),
        ("EXAMPLE.test", "example.TEST.", 443, True),
        ("example.test:8443", "example.test", 8443, True),
        ("example.test:8443", "example.test", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.1.2.3/8", "10.9.9.9", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.0.0.0/8", "ten.test", 443, False),
        ("192.168.0.7", "192.168.0.7", 443, True),
        ("192.168.0.7:8443", "192.168.0.7", 443, False),
        ("192.168.0.7:8443", "192.168.0.7", 8443, True),
        ("fd00::/8", "fd12::1", 443, True),
        ("[fd12::1]:8443", "fd12::1", 8443, True),
        ("10.0.0.0/8", "fd12::1", 443, False),
        ("", "example.test", 443, False),
        (".", "example.test", 443, False),
        ("other.test", "localhost", 8443, True),
        ("other.test", "127.0.0.9", 8443, True),
        ("other.test", "::1", 8443, True),
    ],
)
def test_a_target_without_the_proxy(entry: str, host: str, port: int, *, direct: bool) -> None:
    rules = NoProxy(["unrelated.test", f" {entry} "])
    assert rules.covers(Origin(tls=True, host=host, port=port)) is direct

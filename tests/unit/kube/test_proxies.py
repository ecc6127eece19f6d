"""Forward proxies: which is used for which server, and the requests through them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from propeller.errors import Invalid, Unavailable, Untrusted
from propeller.kube import Connection, Request, connect
from propeller.kube._http import HttpTransport
from propeller.kube._proxy import Proxy, parse_proxy, proxy_of_environment
from propeller.testing import Authority
from tests.unit.kube.forward_proxy import forward_proxy
from tests.unit.kube.raw_server import Peer, http, raw_server

GET = Request(method="GET", path="/version")
LATE = 60.0
PROXY = {"HTTPS_PROXY": "http://proxy:3128"}


@pytest.mark.parametrize(
    ("server", "environment", "url", "name"),
    [
        ("https://k", {}, "", ""),
        ("https://k", PROXY, "http://proxy:3128", "HTTPS_PROXY"),
        ("https://k", {"https_proxy": "http://p"}, "http://p", "https_proxy"),
        ("https://k", {"https_proxy": "http://low", "HTTPS_PROXY": "http://up"}, "http://up", "HTTPS_PROXY"),
        ("https://k", {"HTTPS_PROXY": "", "https_proxy": "http://low"}, "http://low", "https_proxy"),
        ("https://k", {"HTTP_PROXY": "http://p", "ALL_PROXY": "http://p"}, "", ""),
        ("http://k", {"HTTP_PROXY": "http://p"}, "http://p", "HTTP_PROXY"),
        ("http://k", {"HTTP_PROXY": "http://p", "REQUEST_METHOD": "GET"}, "", ""),
        ("http://k", PROXY, "", ""),
        ("https://k", {"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128", "HTTPS_PROXY"),
        ("https://k", {"HTTPS_PROXY": "socks5h://proxy"}, "socks5://proxy", "HTTPS_PROXY"),
        ("https://localhost:6443", PROXY, "", ""),
        ("https://127.1.2.3:6443", PROXY, "", ""),
        ("https://[::1]:6443", PROXY, "", ""),
        ("https://localhost.example", PROXY, "http://proxy:3128", "HTTPS_PROXY"),
    ],
)
def test_the_environment_names_a_proxy_by_scheme_and_never_for_loopback(
    server: str, environment: dict[str, str], url: str, name: str
) -> None:
    assert proxy_of_environment(server, environment) == (url, name)


@pytest.mark.parametrize(
    ("server", "excluded", "is_excluded"),
    [
        ("https://k8s.corp.example", "corp.example", True),
        ("https://corp.example", "corp.example", True),
        ("https://notcorp.example", "corp.example", False),
        ("https://k8s.corp.example", ".corp.example", True),
        ("https://corp.example", ".corp.example", False),
        ("https://k8s.corp.example", "*.corp.example", True),
        ("https://corp.example", "*.corp.example", False),
        ("https://K8S.corp.EXAMPLE", " Corp.Example , other", True),
        ("https://k8s.corp.example", "corp.example:443", True),
        ("https://k8s.corp.example", "corp.example:6443", False),
        ("https://k8s.corp.example:6443", "corp.example:6443", True),
        ("https://k8s.corp.example", "other,,corp.example", True),
        ("https://k8s.corp.example", "*", True),
        ("https://k8s.corp.example", "a,*", True),
        ("https://k8s.corp.example", "", False),
        ("https://k8s.corp.example", ":443", False),
        ("https://10.1.2.3:6443", "10.0.0.0/8", True),
        ("https://10.1.2.3:6443", "10.9.9.9/8", True),
        ("https://11.1.2.3:6443", "10.0.0.0/8", False),
        ("https://10.1.2.3:6443", "10.1.2.3", True),
        ("https://10.1.2.3:6443", "10.1.2.3:6443", True),
        ("https://10.1.2.3:6443", "10.1.2.3:443", False),
        ("https://10.1.2.3:6443", "10.1.2", False),
        ("https://[fd00::1]:6443", "fd00::/8", True),
        ("https://[fd00::1]:6443", "fd00::1", True),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", True),
        ("https://[fd00::1]:6443", "[fd00::1]:443", False),
        ("https://[fd00::1]:6443", "fd00::2", False),
        ("https://10.example", "10.0.0.0/8", False),
        ("https://bücher.example", "bücher.example", True),
    ],
)
def test_no_proxy_excludes_servers_by_domain_address_network_and_port(
    server: str, excluded: str, is_excluded: bool
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        url, _ = proxy_of_environment(server, {**PROXY, name: excluded})
        assert (url == "") == is_excluded


def test_a_proxys_url_has_a_default_port_a_user_and_a_password_that_is_not_shown() -> None:
    proxy = parse_proxy("https://me:s%40cret@proxy", "proxy-url")
    assert (proxy.host, proxy.port, proxy.user, proxy.password) == ("proxy", 443, "me", "s@cret")
    assert (parse_proxy("http://p", "x").port, parse_proxy("socks5://p", "x").port) == (80, 1080)
    assert "cret" not in f"{proxy!r} {proxy.origin}"


@pytest.mark.parametrize("url", ["ftp://p:1", "p:3128", "http://", "http://p:0", "http://p:x", "http://me:secret@"])
def test_a_malformed_proxy_url_is_refused_with_the_fields_name(url: str) -> None:
    with pytest.raises(Invalid, match=r"^HTTPS_PROXY: .* names no proxy: its form is") as refused:
        parse_proxy(url, "HTTPS_PROXY")
    assert "secret" not in str(refused.value)


async def answer(peer: Peer) -> None:
    while await peer.request():
        await peer.send(http(b"in"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def serving(authority: Authority) -> ssl.SSLContext:
    pair = authority.server()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


def named(port: int) -> str:
    """A server that the proxy alone can find."""
    return f"https://kubernetes.default.svc:{port}"


NAMES = {"kubernetes.default.svc": "127.0.0.1"}


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
@pytest.mark.parametrize("user", ["", "me"])
async def test_https_goes_through_every_kind_of_proxy_which_looks_the_name_up(
    authority: Authority, scheme: str, user: str
) -> None:
    tls = serving(authority)
    credentials = f"{user}:s%3Acret@" if user else ""
    async with (
        raw_server(answer, tls=tls) as server,
        forward_proxy(
            scheme, tls=tls if scheme == "https" else None, user=user, password="s:cret" if user else "", names=NAMES
        ) as proxy,
    ):
        port = int(server.url.rpartition(":")[2])
        url = proxy.url.replace("://", f"://{credentials}")
        async with connect(Connection(server=named(port), ca=authority.pem, proxy=url)) as client:
            for _ in range(3):
                assert (await client.transport.send(GET, deadline=LATE)).body == b"in"
            async with client.transport.stream(GET, deadline=LATE) as stream:
                assert [part async for part in stream] == [b"in"]
    assert proxy.asked == [f"{'SOCKS' if scheme == 'socks5' else 'CONNECT'} kubernetes.default.svc:{port}"] * 2


@pytest.mark.parametrize(("scheme", "asked"), [("http", "GET http://{}/a/version"), ("socks5", "SOCKS {}")])
async def test_plain_http_is_forwarded_with_the_whole_url_and_socks_connects(scheme: str, asked: str) -> None:
    async with raw_server(answer) as server, forward_proxy(scheme, user="me", password="p") as proxy:
        url = proxy.url.replace("://", "://me:p@")
        async with connect(Connection(server=f"{server.url}/a", proxy=url)) as client:
            assert (await client.transport.send(GET, deadline=LATE)).body == b"in"
    assert proxy.asked == [asked.format(server.url.removeprefix("http://"))]


@pytest.mark.parametrize(
    ("scheme", "url", "text"),
    [
        ("http", "http://{}", "refuses a connection to 127.0.0.1:9: 407 Proxy Authentication Required"),
        ("http", "http://me:p@{}", "cannot connect to 127.0.0.1:9: 502 Bad Gateway"),
        ("socks5", "http://me:p@{}", "closed the connection: is it an HTTP proxy?"),
        ("socks5", "socks5://{}", "wants a user and password"),
        ("socks5", "socks5://me:x@{}", "refuses the user and password"),
        ("socks5", "socks5://me:p@{}", "refuses a connection to 127.0.0.1:9: host unreachable"),
    ],
)
async def test_a_proxy_that_refuses_is_blamed_with_its_reason(scheme: str, url: str, text: str) -> None:
    async with forward_proxy(scheme, user="me", password="p") as proxy:
        found = parse_proxy(url.format(f"127.0.0.1:{proxy.port}"), "HTTPS_PROXY")
        with pytest.raises(Unavailable) as refused:
            await send_through(found)
    assert f"proxy {found.origin} {text}; https://127.0.0.1:9 was not asked: check HTTPS_PROXY" in str(refused.value)


async def send_through(proxy: Proxy) -> None:
    transport = HttpTransport("https://127.0.0.1:9", proxy=proxy)
    try:
        await transport.send(GET, deadline=LATE)
    finally:
        await transport.close()


async def test_an_untrusted_proxy_is_reported_apart_from_an_untrusted_server(
    authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    async with (
        raw_server(answer, tls=serving(other)) as server,
        forward_proxy("http") as plain,
        forward_proxy("https", tls=serving(other)) as secure,
    ):
        for proxy, text in (
            (secure, f"^proxy {secure.url} cannot be reached: .*certificate verify failed"),
            (plain, f"^{server.url} shows a certificate that is not trusted through proxy {plain.url}"),
        ):
            async with connect(Connection(server=server.url, ca=authority.pem, proxy=proxy.url)) as client:
                with pytest.raises(Untrusted, match=text):
                    await client.transport.send(GET, deadline=LATE)

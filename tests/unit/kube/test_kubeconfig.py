"""Kubeconfigs: every valid way to name an API server, and every invalid one."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.kube import Connection, _kubeconfig, connect, load_connection
from propeller.testing import Authority
from tests.examples import examples

CA = "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n"


def document(**changes: Any) -> dict[str, Any]:
    """A kubeconfig with one of everything; `cluster`, `user` and `context` replace what is in it."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": changes.get("current", "here"),
        "clusters": [{"name": "c", "cluster": changes.get("cluster", {"server": "https://here:6443/"})}],
        "users": [{"name": "u", "user": changes.get("user", {"token": "secret"})}],
        "contexts": [
            {"name": "here", "context": changes.get("context", {"cluster": "c", "user": "u", "namespace": "team"})}
        ],
    }


def load(directory: Path, content: Any, context: str | None = None) -> Connection:
    path = directory / "config"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return load_connection(str(path), context)


def test_the_current_context_says_server_namespace_and_token(tmp_path: Path) -> None:
    found = load(tmp_path, document())
    assert (found.server, found.namespace, found.token) == ("https://here:6443", "team", "secret")
    assert found.verify


def test_a_context_can_be_named(tmp_path: Path) -> None:
    content = document(current="")
    assert load(tmp_path, content, "here").server == "https://here:6443"


def test_data_is_inline_or_in_a_file_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text(CA)
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "token").write_text("secret")
    encoded = base64.encodebytes(b"certificate " * 10).decode()  # with line ends, as some tools write it
    user = {"client-certificate-data": encoded, "client-key-data": "a2V5", "tokenFile": "pki/token"}
    cluster = {"server": "https://here", "certificate-authority": "ca.crt"}
    found = load(tmp_path, document(cluster=cluster, user=user))
    assert found.ca == CA.encode()
    assert found.client_certificate == b"certificate " * 10
    assert found.client_key == b"key"
    assert found.token_file == str(tmp_path / "pki" / "token")


def test_tls_and_proxy_fields_of_the_cluster_are_kept(tmp_path: Path) -> None:
    cluster = {
        "server": "https://here",
        "insecure-skip-tls-verify": True,
        "tls-server-name": "kubernetes",
        "proxy-url": "http://proxy:3128",
    }
    found = load(tmp_path, document(cluster=cluster))
    assert (found.verify, found.tls_server_name, found.proxy) == (False, "kubernetes", "http://proxy:3128")


def test_nulls_are_as_good_as_absent(tmp_path: Path) -> None:
    content = document(
        cluster={"server": "https://here", "certificate-authority-data": None, "proxy-url": None},
        user={"token": None, "exec": None},
        context={"cluster": "c", "user": "u", "namespace": None},
    )
    found = load(tmp_path, content | {"preferences": None, "extensions": None})
    assert (found.namespace, found.token, found.provider) == ("default", "", None)


def test_no_secret_shows_in_a_repr() -> None:
    connection = Connection(server="https://me:secret@here/secret", token="secret", client_key=b"secret")
    assert "secret" not in f"{connection!r} {connection}"


def test_several_kubeconfigs_are_one_and_the_first_to_name_something_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    one, two = document(), document(user={"token": "other"}, current="there")
    two["contexts"].append({"name": "there", "context": {"cluster": "c", "user": "v"}})
    two["users"].append({"name": "v", "user": {"token": "third"}})
    first.write_text(yaml.safe_dump(one))
    second.write_text(yaml.safe_dump(two))
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'absent'}:{second}")
    assert load_connection().token == "secret"
    assert load_connection(context="there").token == "third"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"current": ""}, "has no current-context: set one, or name one with --context"),
        ({"current": "elsewhere"}, r"has no context 'elsewhere'; it has \['here'\]"),
        ({"context": {"cluster": "d", "user": "u"}}, "names cluster 'd', which has no server"),
        ({"context": {"user": "u"}}, "which has no server"),
        ({"context": {"cluster": "c", "user": "w"}}, "names user 'w', which is not there"),
        ({"cluster": {}}, "which has no server"),
        ({"cluster": {"server": "here:6443"}}, r"server 'here:6443' .* https://"),
        ({"cluster": {"server": "ftp://here"}}, r"server 'ftp://here' .* https://"),
        ({"cluster": {"server": "https://here:port"}}, "server 'https://here:port'"),
        ({"cluster": {"server": "https://h", "certificate-authority-data": "%%%"}}, "authority-data is not base64"),
        ({"cluster": {"server": "https://h", "certificate-authority-data": "ü"}}, "authority-data is not base64"),
        ({"cluster": {"server": "https://h", "certificate-authority": "/none"}}, "/none cannot be read: No such file"),
        (
            {"cluster": {"server": "https://h", "proxy-url": "ftp://p"}},
            r"cluster 'c': proxy-url: 'ftp://p' names no proxy",
        ),
        ({"cluster": {"server": "https://h", "proxy-url": "p:3128"}}, r"proxy-url: 'p:3128' names no proxy"),
        ({"user": {"client-certificate-data": "a2V5"}}, "client-certificate without client-key"),
        ({"user": {"username": "u", "password": "p"}}, "username and password"),
        (
            {"user": {"client-certificate": "/none", "client-key": "/none"}},
            "user 'u' .*: client-certificate /none cannot",
        ),
        ({"user": {"tokenFile": "none"}}, r"user 'u' .*: tokenFile \S+/none cannot be read: No such file"),
        (
            {"user": {"client-certificate": "a", "client-certificate-data": "YQ==", "client-key": "b"}},
            "has client-certificate and client-certificate-data; remove one",
        ),
        (
            {"cluster": {"server": "https://h", "certificate-authority": "a", "certificate-authority-data": "YQ=="}},
            "cluster 'c' has certificate-authority and certificate-authority-data; remove one",
        ),
        (
            {
                "cluster": {
                    "server": "https://h",
                    "certificate-authority-data": "YQ==",
                    "insecure-skip-tls-verify": True,
                }
            },
            "cluster 'c' has certificate-authority and insecure-skip-tls-verify: true: remove one",
        ),
        ({"user": {"exec": {}, "auth-provider": {}}}, "has exec and auth-provider: remove one"),
        ({"user": {"as-uid": "7", "as-groups": ["g"]}}, "has as-uid, as-groups without as: name the user"),
        ({"user": {"as": "a\r\nx: y"}}, r"cannot hold control characters: 'a\\r\\nx: y'"),
        ({"user": {"as-user-extra": {"k": "v"}}}, r"at `\$.users\[0\].user.as-user-extra"),
        ({"cluster": {"server": 5}}, r"Expected `str \| null`, got `int` - at `\$.clusters\[0\].cluster.server`"),
        ({"cluster": "text"}, r"at `\$.clusters\[0\].cluster`"),
        ({"context": ["c"]}, r"at `\$.contexts\[0\].context`"),
    ],
)
def test_an_unusable_kubeconfig_is_refused_with_the_mend(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message) as refused:
        load(tmp_path, document(**changes))
    assert str(tmp_path / "config") in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "is not YAML"),
        ("\x00", "is not YAML"),
        ("text", "is no mapping"),
        ("5", "is no mapping"),
        ("apiVersion: v2", "apiVersion 'v2': not v1 Config"),
        ("kind: Pod", "is of kind 'Pod'"),
        ("contexts: [{name: a}, {name: a}]", "has context 'a' twice: remove one"),
        ("users: [{name: a}, {name: b}, {name: a}]", "has user 'a' twice: remove one"),
        ("clusters: text", r"at `\$.clusters`"),
        ("clusters: [text]", r"at `\$.clusters\[0\]`"),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        load(tmp_path, content)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Invalid, match="is not YAML"):
        load_connection(str(tmp_path / "config"))


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Invalid, match=r"none cannot be read: No such file .* name another with --kubeconfig"):
        load_connection(str(tmp_path / "none"))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    with pytest.raises(Invalid, match="none of the kubeconfigs in KUBECONFIG exists"):
        load_connection()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SECTION = st.dictionaries(
    st.sampled_from(["server", "certificate-authority-data", "token", "exec", "cluster", "user", "namespace"]),
    JSON,
    max_size=3,
)


@examples(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cluster=JSON | SECTION, user=JSON | SECTION, context=JSON | SECTION, more=JSON)
def test_any_kubeconfig_becomes_a_connection_or_invalid(
    tmp_path: Path, cluster: Any, user: Any, context: Any, more: Any
) -> None:
    for content in (document(cluster=cluster), document(user=user), document(context=context), more):
        try:
            load(tmp_path, content)
        except Invalid:
            continue


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The service account of a pod without a kubeconfig; returns its directory."""
    account = tmp_path / "serviceaccount"
    account.mkdir()
    (account / "token").write_text("secret")
    (account / "ca.crt").write_text(CA)
    (account / "namespace").write_text("team\n")
    monkeypatch.setattr(_kubeconfig, "SERVICE_ACCOUNT", account)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return account


def test_in_a_pod_the_service_account_says_it_all(pod: Path) -> None:
    found = load_connection()
    assert (found.server, found.namespace, found.ca) == ("https://10.0.0.1:443", "team", CA.encode())
    assert found.token_file == str(pod / "token")


def test_in_a_pod_the_server_may_have_an_ipv6_address(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    assert load_connection().server == "https://[fd00::1]:443"


def test_a_pod_without_the_servers_address_gets_an_error_that_says_so(
    pod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    with pytest.raises(Invalid, match="KUBERNETES_SERVICE_HOST is not set"):
        load_connection()


def test_a_pod_without_the_authoritys_certificate_gets_an_error_that_says_so(pod: Path) -> None:
    (pod / "ca.crt").unlink()
    with pytest.raises(Invalid, match=r"ca.crt cannot be read"):
        load_connection()


def test_a_kubeconfig_at_home_comes_before_the_service_account(pod: Path, tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(yaml.safe_dump(document()))
    assert load_connection().server == "https://here:6443"


def test_without_anything_the_message_says_how_to_name_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_kubeconfig, "SERVICE_ACCOUNT", tmp_path / "none")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(Invalid, match=r"no cluster: .* name one with --kubeconfig FILE"):
        load_connection()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ca": b"no PEM"}, "certificate-authority of https://here is no PEM certificate"),
        ({"ca": b"\xff"}, "certificate-authority of https://here is no PEM certificate"),
        ({"client_certificate": b"x", "client_key": b"y"}, "client certificate or key for https://here is not usable"),
    ],
)
async def test_certificates_that_are_none_are_refused_when_connecting(fields: dict[str, bytes], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        async with connect(Connection(server="https://here", **fields)):  # type: ignore[arg-type] # bytes fields alone
            pass


async def test_an_encrypted_client_key_is_refused_without_a_prompt_for_its_password(tmp_path: Path) -> None:
    pair = Authority(tmp_path).client("somebody", "")
    encrypt = ["openssl", "ec", "-in", str(pair.key), "-aes128", "-passout", "pass:secret"]
    key = subprocess.run(encrypt, check=True, capture_output=True).stdout
    connection = Connection(server="https://here", client_certificate=pair.certificate.read_bytes(), client_key=key)
    with pytest.raises(Invalid, match="is not usable"):
        async with connect(connection):
            pass


def test_an_empty_file_is_an_empty_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_text(yaml.safe_dump(document()))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'empty'}:{tmp_path / 'full'}")
    assert load_connection().token == "secret"
    with pytest.raises(Invalid, match="empty has no current-context"):
        load_connection(str(tmp_path / "empty"))


def test_of_several_kubeconfigs_the_one_at_fault_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(yaml.safe_dump({"current-context": "here", "contexts": document()["contexts"]}))
    second.write_text(yaml.safe_dump(document(user={"tokenFile": "none"}, current="")))
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}")
    with pytest.raises(Invalid, match=f"user 'u' of kubeconfig {second}: tokenFile"):
        load_connection()
    second.write_text("a: [")
    with pytest.raises(Invalid, match=f"^kubeconfig {second} is not YAML"):
        load_connection()


def test_paths_are_relative_to_the_name_that_a_kubeconfig_is_read_by(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "token").write_text("secret")
    (tmp_path / "real" / "config").write_text(yaml.safe_dump(document(user={"tokenFile": "token"})))
    link = tmp_path / "link"
    link.symlink_to("real/config")
    assert load_connection(str(link)).token_file == str(tmp_path / "token")


def test_a_key_without_a_certificate_is_not_looked_at(tmp_path: Path) -> None:
    found = load(tmp_path, document(user={"token": "t", "client-key": "/none"}))
    assert (found.token, found.client_key, found.client_key_file) == ("t", None, "")


def test_a_servers_scheme_is_read_in_any_case_and_its_path_kept(tmp_path: Path) -> None:
    found = load(tmp_path, document(cluster={"server": "HTTPS://here/a/?b#c"}))
    assert found.server == "https://here/a"


def test_over_plain_http_no_credentials_are_sent(tmp_path: Path) -> None:
    found = load(tmp_path, document(cluster={"server": "http://here"}, user={"token": "t", "as": "somebody"}))
    assert (found.token, found.impersonation is not None) == ("", True)


def test_impersonation_goes_into_headers(tmp_path: Path) -> None:
    user = {
        "token": "t",
        "as": "jürgen",
        "as-uid": "7",
        "as-groups": ["a", "b"],
        "as-user-extra": {"example.org/scopes%": ["x", "y"], "none": None},
    }
    found = load(tmp_path, document(user=user)).impersonation
    assert found is not None
    assert found.headers() == (
        ("impersonate-user", "jürgen".encode().decode("latin-1")),
        ("impersonate-uid", "7"),
        ("impersonate-group", "a"),
        ("impersonate-group", "b"),
        ("impersonate-extra-example.org%2Fscopes%25", "x"),
        ("impersonate-extra-example.org%2Fscopes%25", "y"),
    )


def test_the_environments_proxy_is_for_clusters_that_name_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy:3128")
    monkeypatch.setenv("NO_PROXY", ".internal")
    found = load(tmp_path, document())
    assert (found.proxy, found.proxy_source) == ("http://proxy:3128", "HTTPS_PROXY")
    assert load(tmp_path, document(cluster={"server": "https://k.internal"})).proxy is None
    named = load(tmp_path, document(cluster={"server": "https://k.internal", "proxy-url": "socks5://other"}))
    assert (named.proxy, "proxy-url" in named.proxy_source) == ("socks5://other", True)
    monkeypatch.setenv("HTTPS_PROXY", "ftp://proxy")
    with pytest.raises(Invalid, match=r"^HTTPS_PROXY: 'ftp://proxy' names no proxy"):
        load(tmp_path, document())

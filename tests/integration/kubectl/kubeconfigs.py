"""Kubeconfigs as people have them, right and wrong, for a real kube-apiserver: kubectl and propeller take or refuse the
same ones, and blame the same party.

Each case changes a kubeconfig that works. Files that cases name are made by `prepare`. kubectl shows a dead proxy as a
server that refuses connections; it asks for a name if the user is missing, and localhost:8080 if the cluster is.
"""

from __future__ import annotations

import base64
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from propeller.testing import Authority, KubeApiserver, Pair

V1, V1BETA1 = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"
NAMED = "kubernetes.default.svc"
"""A name of the server's that only the test's proxy knows."""


@dataclass
class World:
    """What cases are made of: the server, and a directory with the files of kubeconfigs."""

    server: KubeApiserver
    directory: Path
    proxies: dict[str, str]
    """URL by scheme, and `dead` for one where nobody listens."""

    @property
    def port(self) -> str:
        return self.server.url.rpartition(":")[2]

    @property
    def ca(self) -> str:
        return base64.b64encode(self.server.ca).decode()

    def pair(self, user: str) -> Pair:
        return Pair(self.directory / f"{user}.crt", self.directory / f"{user}.key")

    def document(self, user: Any = None, **cluster: Any) -> dict[str, Any]:
        section = {"server": self.server.url, "certificate-authority-data": self.ca, **cluster}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "k", "cluster": {key: v for key, v in section.items() if v is not None}}],
            "users": [{"name": "u", "user": {"token": self.server.token} if user is None else user}],
            "contexts": [{"name": "x", "context": {"cluster": "k", "user": "u"}}],
        }

    def through(self, **cluster: Any) -> dict[str, Any]:
        """To the server by the name that the proxy knows."""
        return self.document(server=f"https://{NAMED}:{self.port}", **cluster)

    def exec(self, shown: str, version: str = V1, **changes: Any) -> dict[str, Any]:
        """A user with a plugin that prints an ExecCredential whose status is `shown`."""
        answer = f'{{"apiVersion": "{version}", "kind": "ExecCredential", "status": {shown}}}'
        plugin = {
            "apiVersion": version,
            "interactiveMode": "Never",
            "command": "sh",
            "args": ["-c", f"echo '{answer}'"],
        }
        return {"exec": {key: v for key, v in {**plugin, **changes}.items() if v is not None}}

    @property
    def token(self) -> str:
        return f'{{"token": "{self.server.token}"}}'


Make = Callable[[World], dict[str, Any]]


@dataclass
class Case:
    make: Make
    blames: tuple[str, str] | None = None
    """Patterns for what we say and what kubectl says; None if it works."""
    env: Callable[[World], dict[str, str]] = field(default=lambda world: {})


def prepare(server: KubeApiserver, directory: Path) -> None:
    for user, group in (("administrator", "system:masters"), ("stranger", "people")):
        pair = server.authority.client(user, group)
        for kind, path in (("crt", pair.certificate), ("key", pair.key)):
            (directory / f"{user}.{kind}").write_bytes(path.read_bytes())
    (directory / "token").write_text(server.token + "\n")
    (directory / "ca.crt").write_bytes(server.ca)
    (directory / "elsewhere").mkdir()
    (directory / "other.crt").write_bytes(Authority(directory / "elsewhere", "other").pem)
    pair = Pair(directory / "administrator.crt", directory / "administrator.key")
    script(
        directory / "certificate",
        "import json\n"
        f"show = lambda path: open(path).read()\n"
        f"status = dict(clientCertificateData=show({str(pair.certificate)!r}), clientKeyData=show({str(pair.key)!r}))\n"
        f"print(json.dumps(dict(apiVersion={V1!r}, kind='ExecCredential', status=status)))",
    )
    script(
        directory / "told",
        "import json, os, sys\n"
        "cluster = json.loads(os.environ['KUBERNETES_EXEC_INFO'])['spec']['cluster']\n"
        f"right = dict(server={server.url!r}, config=dict(audience='a'))\n"
        f"right['certificate-authority-data'] = {base64.b64encode(server.ca).decode()!r}\n"
        "right['tls-server-name'] = 'localhost'\n"
        "if cluster != right: sys.exit(f'told {cluster}')\n"
        f"print(json.dumps(dict(apiVersion={V1!r}, kind='ExecCredential', status=dict(token={server.token!r}))))",
    )


def script(path: Path, text: str) -> None:
    path.write_text(f"#!{sys.executable} -SE\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def _admin(world: World, **changes: Any) -> dict[str, Any]:
    return world.document({"token": world.server.token, **changes})


def _pair_user(world: World, user: str = "administrator") -> dict[str, Any]:
    pair = world.pair(user)
    return {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}


def _inline(world: World) -> dict[str, Any]:
    pair = world.pair("administrator")
    encoded = [base64.b64encode(path.read_bytes()).decode() for path in (pair.certificate, pair.key)]
    return {"client-certificate-data": encoded[0], "client-key-data": encoded[1]}


def _https(world: World, excluded: str = "", proxy: str = "http") -> dict[str, str]:
    return {"HTTPS_PROXY": world.proxies[proxy], "NO_PROXY": excluded}


def _excluding(excluded: str) -> Callable[[World], dict[str, str]]:
    return lambda world: _https(world, excluded)


def _through_a_proxy(scheme: str) -> Make:
    return lambda world: world.through(**{"proxy-url": world.proxies[scheme]})


_TOLD = {"extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}]}

CASES: dict[str, Case] = {
    # who we are
    "a token": Case(lambda w: w.document()),
    "a token that is wrong": Case(
        lambda w: w.document({"token": "wrong"}), ("missing, wrong or expired", "logged in|Unauthorized")
    ),
    "a token file beside the kubeconfig": Case(lambda w: w.document({"tokenFile": "token"})),
    "a token file, and a token that is wrong": Case(lambda w: w.document({"tokenFile": "token", "token": "wrong"})),
    "a token file that is missing": Case(
        lambda w: w.document({"tokenFile": "nowhere"}),
        ("tokenFile .*/nowhere cannot", "nowhere: no such file"),
    ),
    "a token file that is missing, and a token": Case(
        lambda w: w.document({"tokenFile": "nowhere", "token": w.server.token})
    ),
    "a client certificate in files": Case(lambda w: w.document(_pair_user(w))),
    "a client certificate beside the kubeconfig": Case(
        lambda w: w.document({"client-certificate": "administrator.crt", "client-key": "administrator.key"})
    ),
    "a client certificate inline": Case(lambda w: w.document(_inline(w))),
    "the certificate of a stranger": Case(
        lambda w: w.document(_pair_user(w, "stranger")), ('User "stranger"', 'User "stranger"')
    ),
    "a certificate without a key": Case(
        lambda w: w.document({"client-certificate": "administrator.crt"}), ("without client-key", "client-key")
    ),
    "a certificate with the key of another": Case(
        lambda w: w.document({"client-certificate": "administrator.crt", "client-key": "stranger.key"}),
        ("client certificate or key .* not usable", "private key does not match"),
    ),
    "a certificate that is missing": Case(
        lambda w: w.document({"client-certificate": "nowhere.crt", "client-key": "stranger.key"}),
        ("client-certificate .*nowhere.crt", "nowhere.crt"),
    ),
    "a certificate in a file and inline": Case(
        lambda w: w.document(_inline(w) | {"client-certificate": "administrator.crt"}),
        ("client-certificate and client-certificate-data", "client-cert-data and client-cert are both"),
    ),
    "a key without a certificate, and a token": Case(lambda w: _admin(w, **{"client-key": "nowhere"})),
    "user and password": Case(
        lambda w: w.document({"username": "u", "password": "p"}),
        ("username and password", "system:anonymous|Unauthorized"),
    ),
    "a password and a token": Case(
        lambda w: _admin(w, username="u", password="p"),
        ("username and password", "more than one authentication"),
    ),
    # as somebody else
    "as a stranger": Case(lambda w: _admin(w, **{"as": "stranger"}), ('User "stranger"', 'User "stranger"')),
    "as somebody of a group": Case(lambda w: _admin(w, **{"as": "me", "as-groups": ["people", "system:masters"]})),
    "as somebody with uid and more": Case(
        lambda w: _admin(
            w, **{"as": "me", "as-uid": "7", "as-groups": ["system:masters"], "as-user-extra": {"a/b": ["c", "d"]}}
        )
    ),
    "as nobody, of a group": Case(
        lambda w: _admin(w, **{"as-groups": ["system:masters"]}),
        ("as-groups without as", "without impersonating"),
    ),
    # plugins
    "a plugin with a token": Case(lambda w: w.document(w.exec(w.token))),
    "a plugin of v1beta1 without a mode": Case(lambda w: w.document(w.exec(w.token, V1BETA1, interactiveMode=None))),
    "a plugin with a certificate": Case(lambda w: w.document(w.exec("", command="./certificate", args=None))),
    "a plugin that is told about the cluster": Case(
        lambda w: w.document(
            w.exec("", command=str(w.directory / "told"), args=None, provideClusterInfo=True),
            **{"tls-server-name": "localhost", **_TOLD},
        )
    ),
    "a plugin with variables": Case(
        lambda w: w.document(
            w.exec(
                "",
                args=["-c", 'echo "{\\"apiVersion\\":\\"$V\\",\\"kind\\":\\"ExecCredential\\",\\"status\\":$S}"'],
                env=[{"name": "V", "value": V1}, {"name": "S", "value": w.token}],
            )
        )
    ),
    "a plugin that would fail, and a token": Case(
        lambda w: w.document({"token": w.server.token} | w.exec("", command="false", args=None))
    ),
    "a plugin that would fail, and a certificate": Case(
        lambda w: w.document(_inline(w) | w.exec("", command="false", args=None))
    ),
    "a plugin that fails": Case(
        lambda w: w.document(w.exec("", args=["-c", "echo 'log in first' >&2; exit 3"])),
        ("exec plugin 'sh' .*exit code 3: log in first", "(?s)log in first.*executable sh failed with exit code 3"),
    ),
    "a plugin that is missing": Case(
        lambda w: w.document(w.exec("", command="no-such-plugin", installHint="get it there")),
        ("'no-such-plugin' .*get it there", "(?s)executable no-such-plugin not found.*get it there"),
    ),
    "a plugin that answers with another version": Case(
        lambda w: w.document(w.exec(w.token, V1BETA1, apiVersion=V1)),
        ("exec plugin .*v1beta1'; the kubeconfig asks", "plugin returned version .*/v1beta1"),
    ),
    "a plugin that answers with nothing": Case(
        lambda w: w.document(w.exec("{}")), ("neither status.token nor", "didn't return a token or cert/key pair")
    ),
    "a plugin that answers without status": Case(
        lambda w: w.document(w.exec("null")), ("without status", "didn't return a status field")
    ),
    "a plugin that answers with half a pair": Case(
        lambda w: w.document(w.exec('{"token": "t", "clientKeyData": "k"}')),
        ("clientKeyData without", "only certificate or key"),
    ),
    "a plugin that answers with a broken pair": Case(
        lambda w: w.document(w.exec('{"clientCertificateData": "c", "clientKeyData": "k"}')),
        ("exec plugin .*clientKeyData hold cannot be used", "failed parsing client key/certificate"),
    ),
    "a plugin that answers with no JSON": Case(
        lambda w: w.document(w.exec("", args=["-c", "echo hello"])), ("printed no ExecCredential", "decoding stdout")
    ),
    "a plugin without a command": Case(
        lambda w: w.document(w.exec("", command=None)), ("exec.command", "command must be specified")
    ),
    "a plugin without a version": Case(
        lambda w: w.document(w.exec("", apiVersion=None)), ("exec.apiVersion", "apiVersion must be specified")
    ),
    "a plugin of a version that is gone": Case(
        lambda w: w.document(w.exec("", "client.authentication.k8s.io/v1alpha1")),
        ("exec.apiVersion '.*v1alpha1'", "(?s)v1alpha1|interactiveMode"),
    ),
    "a plugin without a mode": Case(
        lambda w: w.document(w.exec(w.token, interactiveMode=None)), ("exec.interactiveMode", "interactiveMode must be")
    ),
    "a plugin with a wrong mode": Case(
        lambda w: w.document(w.exec(w.token, interactiveMode="Ask")),
        ("Mode 'Ask'", "invalid interactiveMode"),
    ),
    "a plugin that has to ask": Case(
        lambda w: w.document(w.exec(w.token, interactiveMode="Always")), ("not a terminal", "not a terminal")
    ),
    "a plugin with a variable without a name": Case(
        lambda w: w.document(w.exec(w.token, env=[{"name": "", "value": "x"}])),
        ("exec.env", "env variable name must be specified"),
    ),
    "a plugin and a provider": Case(
        lambda w: w.document(w.exec(w.token) | {"auth-provider": {"name": "oidc"}}),
        ("exec and auth-provider", "authProvider cannot be provided in combination with an exec plugin"),
    ),
    # whom we trust
    "the authority in a file": Case(
        lambda w: w.document(**{"certificate-authority-data": None, "certificate-authority": "ca.crt"})
    ),
    "the authority in a file and inline": Case(
        lambda w: w.document(**{"certificate-authority": "ca.crt"}),
        ("certificate-authority and certificate-authority-data", "certificate-authority are both specified"),
    ),
    "an authority that is missing": Case(
        lambda w: w.document(**{"certificate-authority-data": None, "certificate-authority": "nowhere.crt"}),
        ("certificate-authority .*nowhere.crt", "nowhere.crt"),
    ),
    "another authority": Case(
        lambda w: w.document(**{"certificate-authority-data": None, "certificate-authority": "other.crt"}),
        ("certificate that is not trusted", "failed to verify certificate"),
    ),
    "no authority": Case(
        lambda w: w.document(**{"certificate-authority-data": None}),
        ("certificate that is not trusted", "failed to verify certificate"),
    ),
    "an authority that is no base64": Case(
        lambda w: w.document(**{"certificate-authority-data": "%%%"}), ("authority-data is not base64", "base64")
    ),
    "an authority that is no certificate": Case(
        lambda w: w.document(**{"certificate-authority-data": "bm9uZQ=="}),
        ("certificate-authority .*no PEM", "unable to load root certificates"),
    ),
    "no verification": Case(
        lambda w: w.document(**{"certificate-authority-data": None, "insecure-skip-tls-verify": True})
    ),
    "no verification, and an authority": Case(
        lambda w: w.document(**{"insecure-skip-tls-verify": True}),
        ("insecure-skip-tls-verify", "insecure flag is not allowed"),
    ),
    "a server by another of its names": Case(lambda w: w.document(**{"tls-server-name": NAMED})),
    "a server by a name that it does not have": Case(
        lambda w: w.document(**{"tls-server-name": "other"}),
        ("certificate that is not trusted", "is valid for"),
    ),
    "a scheme in upper case": Case(lambda w: w.document(server=w.server.url.replace("https", "HTTPS"))),
    "a slash after the server": Case(lambda w: w.document(server=f"{w.server.url}/")),
    "a server without a scheme": Case(
        lambda w: w.document(server=w.server.url.removeprefix("https://")),
        ("server '127.0.0.1:.*' is no URL", "BadRequest"),
    ),
    "a server over plain http": Case(
        lambda w: w.document(server=w.server.url.replace("https", "http")),
        ("HTTP request to an HTTPS server", "BadRequest"),
    ),
    "a server that is not there": Case(
        lambda w: w.document(server="https://127.0.0.1:9"), ("https://127.0.0.1:9 cannot be reached", "127.0.0.1:9")
    ),
    "a server whose name nobody knows": Case(
        lambda w: w.document(server="https://no-such-host.invalid"), ("no-such-host.invalid", "no-such-host.invalid")
    ),
    # proxies
    **{
        f"through {scheme}, named by the kubeconfig": Case(_through_a_proxy(scheme))
        for scheme in ("http", "https", "socks5")
    },
    "through a proxy of the kubeconfig that NO_PROXY does not hold for": Case(
        lambda w: w.through(**{"proxy-url": w.proxies["http"]}), env=lambda w: {"NO_PROXY": "*"}
    ),
    "through a proxy that is not there": Case(
        lambda w: w.through(**{"proxy-url": w.proxies["dead"]}), ("proxy http://127.0.0.1:9 ", "refused")
    ),
    "through a proxy of an unknown scheme": Case(
        lambda w: w.through(**{"proxy-url": "ftp://127.0.0.1:9"}), ("proxy-url: 'ftp://", "invalid 'proxy-url'")
    ),
    "through socks5h": Case(
        lambda w: w.through(**{"proxy-url": "socks5h://127.0.0.1:9"}), ("proxy-url: 'socks5h://", "invalid 'proxy-url'")
    ),
    "through the environment's": Case(lambda w: w.through(), env=_https),
    "through the environment's https one": Case(lambda w: w.through(), env=lambda w: _https(w, proxy="https")),
    "through the environment's socks5": Case(lambda w: w.through(), env=lambda w: _https(w, proxy="socks5")),
    "through the environment's in lower case": Case(
        lambda w: w.through(), env=lambda w: {"https_proxy": w.proxies["http"]}
    ),
    "through the environment's without a scheme": Case(
        lambda w: w.through(), env=lambda w: {"HTTPS_PROXY": w.proxies["http"].removeprefix("http://")}
    ),
    "through the environment's that is not there": Case(
        lambda w: w.through(),
        ("proxy http://127.0.0.1:9 ", "refused"),
        lambda w: _https(w, proxy="dead"),
    ),
    "loopback past the environment's": Case(lambda w: w.document(), env=lambda w: _https(w, proxy="dead")),
    "https past HTTP_PROXY": Case(
        lambda w: w.through(), (NAMED, NAMED), env=lambda w: {"HTTP_PROXY": w.proxies["http"]}
    ),
    **{
        f"past the environment's for {excluded!r}": Case(
            lambda w: w.through(), (f"{NAMED}.* cannot be reached", NAMED), _excluding(excluded)
        )
        for excluded in (NAMED, "default.svc", ".svc", "*.svc", "*", f"x, {NAMED.upper()}")
    },
    **{
        f"through the environment's in spite of {excluded!r}": Case(lambda w: w.through(), env=_excluding(excluded))
        for excluded in ("other.svc", "efault.svc", ".kubernetes.default.svc", f"{NAMED}:1", "127.0.0.0/8", ":443")
    },
    # the file
    "an apiVersion that is none": Case(
        lambda w: w.document() | {"apiVersion": "v2"}, ("apiVersion 'v2'", 'no kind "Config" is registered')
    ),
    "no apiVersion and no kind": Case(
        lambda w: {key: v for key, v in w.document().items() if key not in {"apiVersion", "kind"}}
    ),
    "fields that nobody knows": Case(lambda w: w.document() | {"preferences": {}, "extra": [1]}),
    "a user twice": Case(
        lambda w: w.document() | {"users": [{"name": "u", "user": {}}] * 2}, ("user 'u' twice", "duplicate name")
    ),
    "a context that is missing": Case(
        lambda w: w.document() | {"current-context": "z"}, ("no context 'z'", "context was not found.*: z")
    ),
    "a user that is missing": Case(
        lambda w: w.document() | {"users": []}, ("user 'u', which is not", "Username: error: EOF")
    ),
    "a cluster that is missing": Case(lambda w: w.document() | {"clusters": []}, ("cluster 'k'", "localhost:8080")),
    "a server of the wrong type": Case(
        lambda w: w.document(server=5), (r"clusters\[0\].cluster.server", "Cluster.server|clusters.*server|json")
    ),
}

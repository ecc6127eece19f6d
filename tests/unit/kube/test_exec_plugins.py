"""Exec plugins: real commands, their inputs and outputs, and errors that name the one at fault."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import pty
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from propeller.clock import SYSTEM_CLOCK
from propeller.errors import Denied, Invalid
from propeller.kube import Connection, load_connection
from propeller.kube._command import Transcript
from propeller.kube._credentials import ObtainedCredential
from propeller.kube._exec import ExecPlugin
from propeller.kube._transport import Credential
from propeller.testing import Authority

V1, V1BETA1 = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"


class Files:
    """A directory with a kubeconfig and a plugin that prints what it is given, and then `answer`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.said = directory / "said"

    def plugin(self, answer: object, name: str = "plugin") -> Path:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        path = self.directory / name
        script = (
            f"#!{sys.executable} -SE\nimport json, os, sys\n"
            f"said = dict(arguments=sys.argv[1:], environment=dict(os.environ), terminal=sys.stdin.isatty())\n"
            f"open({str(self.said)!r}, 'w').write(json.dumps(said))\nprint({text!r})\n"
        )
        path.write_text(script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def load(self, exec_: dict[str, Any], **cluster: Any) -> Connection:
        path = self.directory / "config"
        filled = {"apiVersion": V1, "interactiveMode": "Never", "command": str(self.directory / "plugin"), **exec_}
        document = {
            "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": "https://here", **cluster}}],
            "users": [{"name": "u", "user": {"exec": {k: v for k, v in filled.items() if v is not None}}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        }
        path.write_text(yaml.safe_dump(document))
        return load_connection(str(path))

    @property
    def told(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.said.read_text())
        return said

    @property
    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.told["environment"]["KUBERNETES_EXEC_INFO"])
        return found


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def answer(version: str = V1, **status: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": "ExecCredential", "status": status}


async def obtained(connection: Connection) -> Credential:
    plugin = connection.exec_plugin
    assert isinstance(plugin, ExecPlugin)
    return await plugin.obtain(Transcript())


@pytest.mark.parametrize("version", [V1, V1BETA1])
async def test_a_plugin_gives_a_token_and_when_it_expires(files: Files, version: str) -> None:
    files.plugin(answer(version, token="from the plugin", expirationTimestamp="2100-01-01T00:00:00Z"))
    found = await obtained(files.load({"apiVersion": version}))
    assert (found.token, found.expires) == ("from the plugin", 4102444800)
    assert files.info == {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    assert not files.told["terminal"]


async def test_a_plugin_gives_a_client_certificate_with_its_key(files: Files, authority: Authority) -> None:
    pair = authority.client("somebody", "people")
    certificate, key = pair.certificate.read_text(), pair.key.read_text()
    files.plugin(answer(clientCertificateData=certificate, clientKeyData=key))
    found = await obtained(files.load({}))
    assert (found.token, found.certificate, found.key) == ("", certificate.encode(), key.encode())
    assert key not in repr(found)


async def test_a_plugin_has_its_arguments_and_variables_over_ours(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "1")
    monkeypatch.setenv("BOTH", "ours")
    files.plugin(answer(token="t"))
    await obtained(files.load({"args": ["a", "b c"], "env": [{"name": "BOTH", "value": "its"}]}))
    told = files.told
    assert told["arguments"] == ["a", "b c"]
    assert (told["environment"]["OURS"], told["environment"]["BOTH"]) == ("1", "its")


async def test_a_plugin_gets_the_cluster_info_if_the_kubeconfig_says_so(files: Files, authority: Authority) -> None:
    files.plugin(answer(token="t"))
    (files.directory / "ca.crt").write_bytes(authority.pem)
    config = {"audience": ["here"], "n": 5}
    cluster = {
        "server": "https://here:6443/",
        "certificate-authority": "ca.crt",
        "tls-server-name": "kubernetes",
        "proxy-url": "http://me:pw@proxy:3128",
        "extensions": [
            {"name": "other", "extension": {"x": 1}},
            {"name": "client.authentication.k8s.io/exec", "extension": config},
        ],
    }
    await obtained(files.load({"provideClusterInfo": True}, **cluster))
    assert files.info["spec"]["cluster"] == {
        "server": "https://here:6443",
        "certificate-authority-data": base64.b64encode(authority.pem).decode(),
        "tls-server-name": "kubernetes",
        "proxy-url": "http://me:pw@proxy:3128",
        "config": config,
    }
    await obtained(files.load({"provideClusterInfo": True}, **{"insecure-skip-tls-verify": True}))
    assert files.info["spec"]["cluster"] == {"server": "https://here", "insecure-skip-tls-verify": True}
    await obtained(files.load({"provideClusterInfo": False}, **cluster))
    assert "cluster" not in files.info["spec"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("no JSON", "printed no ExecCredential"),
        ("", "printed no ExecCredential"),
        ("[]", "printed no ExecCredential"),
        ("[" * 100_000, "printed no ExecCredential"),
        ({"apiVersion": V1, "kind": "ExecCredential"}, "printed an ExecCredential without status"),
        ({"apiVersion": V1, "kind": "Pod", "status": {"token": "t"}}, "printed kind 'Pod'"),
        (answer(V1BETA1, token="t"), f"of '{V1BETA1}'; the kubeconfig asks for ExecCredential of '{V1}'"),
        (answer(), "gave neither status.token nor a client certificate with its key"),
        (answer(token="", clientCertificateData=None), "gave neither"),
        (answer(clientCertificateData="c"), "status.clientCertificateData without status.clientKeyData"),
        (answer(token="t", clientKeyData="k"), "status.clientKeyData without status.clientCertificateData"),
        (answer(clientCertificateData="c", clientKeyData="k"), "clientKeyData hold cannot be used"),
        (answer(token=5), r"Expected `str \| null`, got `int` - at `\$.status.token`"),
        (answer(token="t", expirationTimestamp="tomorrow"), r"at `\$.status.expirationTimestamp`"),
        (answer(token="t", expirationTimestamp="2100-01-01T00:00:00"), r"at `\$.status.expirationTimestamp`"),
        ("x" * 2_000_000, "failed: it prints more than 1048576 bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_an_answer_that_is_none_is_refused_and_the_plugin_blamed(files: Files, given: object, text: str) -> None:
    files.plugin(given)
    connection = files.load({})
    with pytest.raises(Denied, match=text) as refused:
        await obtained(connection)
    assert f"exec plugin '{files.directory / 'plugin'}' of user 'u' of kubeconfig" in str(refused.value)


async def test_a_plugin_that_fails_is_blamed_with_its_last_words(files: Files) -> None:
    exec_ = {"command": "sh", "args": ["-c", "echo first >&2; echo 'log in with: cloud login' >&2; exit 3"]}
    with pytest.raises(
        Denied, match=r"exec plugin 'sh' .* failed: it ended with exit code 3: log in with: cloud login"
    ):
        await obtained(files.load(exec_))
    with pytest.raises(Denied, match="it was ended by SIGTERM"):
        await obtained(files.load({"command": "sh", "args": ["-c", "kill $$"]}))


@pytest.mark.parametrize("command", ["no-such-plugin", "/no/such/plugin", "./plugin"])
async def test_a_command_that_is_missing_is_named_with_the_kubeconfigs_hint(files: Files, command: str) -> None:
    exec_ = {"command": command, "installHint": "brew install\n\x1b[31mplugin"}
    with pytest.raises(Denied, match=r"is not there, or is not executable\. Hint: brew install\\n") as refused:
        await obtained(files.load(exec_))
    assert "\x1b" not in str(refused.value)


async def test_a_command_is_found_beside_the_kubeconfig_if_it_is_a_path_and_by_our_path_if_it_is_a_name(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.plugin(answer(token="beside"))
    monkeypatch.chdir("/")
    assert (await obtained(files.load({"command": "./plugin"}))).token == "beside"
    monkeypatch.setenv("PATH", f"{files.directory}{os.pathsep}{os.environ['PATH']}")
    variables = [{"name": "PATH", "value": "/nowhere"}]
    assert (await obtained(files.load({"command": "plugin", "env": variables}))).token == "beside"


async def test_an_interactive_plugin_is_refused_without_a_terminal(files: Files) -> None:
    files.plugin(answer(token="t"))
    with pytest.raises(Denied, match="interactiveMode Always, and standard input is not a terminal"):
        await obtained(files.load({"interactiveMode": "Always"}))


@pytest.mark.parametrize(("mode", "asks"), [("Never", False), ("IfAvailable", True), ("Always", True)])
async def test_a_plugin_that_may_prompt_has_the_terminal_and_its_exec_info_says_so(
    files: Files, mode: str, asks: bool
) -> None:
    files.plugin(answer(token="t"))
    connection = files.load({"interactiveMode": mode})
    controller, terminal = pty.openpty()
    ours = os.dup(0)
    os.dup2(terminal, 0)
    try:
        assert (await obtained(connection)).token == "t"
    finally:
        os.dup2(ours, 0)
        for descriptor in (controller, terminal, ours):
            os.close(descriptor)
    assert (files.told["terminal"], files.info["spec"]["interactive"]) == (asks, asks)


@pytest.mark.parametrize(
    ("exec_", "text"),
    [
        ({"command": None}, "exec.command is missing"),
        ({"command": ""}, "exec.command is missing"),
        ({"apiVersion": None}, "exec.apiVersion is missing"),
        (
            {"apiVersion": "client.authentication.k8s.io/v1alpha1"},
            "v1alpha1' is none of client.authentication.k8s.io/v1",
        ),
        ({"interactiveMode": None}, "exec.interactiveMode is missing, which .*/v1 requires"),
        ({"interactiveMode": "Sometimes"}, "exec.interactiveMode 'Sometimes' is none of Never, IfAvailable, Always"),
        ({"env": [{"name": "", "value": "x"}]}, "exec.env has a variable with the name ''"),
        ({"env": [{"name": "A=B", "value": "x"}]}, "exec.env has a variable with the name 'A=B'"),
        ({"args": [5]}, r"at `\$.users\[0\].user.exec.args\[0\]`"),
        ({"provideClusterInfo": "yes"}, r"at `\$.users\[0\].user.exec.provideClusterInfo`"),
    ],
)
def test_an_entry_that_cannot_be_run_is_refused_with_file_user_and_field(
    files: Files, exec_: dict[str, Any], text: str
) -> None:
    with pytest.raises(Invalid, match=text) as refused:
        files.load(exec_)
    assert f"kubeconfig {files.directory / 'config'}" in str(refused.value)


def test_without_an_interactive_mode_v1beta1_asks_if_it_can(files: Files) -> None:
    plugin = files.load({"apiVersion": V1BETA1, "interactiveMode": None}).exec_plugin
    assert plugin is not None
    assert plugin.interactive_mode == "IfAvailable"


@pytest.mark.parametrize("given", [{"token": "t"}, {"tokenFile": "token"}, "certificate"])
def test_a_plugin_is_used_only_without_other_credentials(files: Files, authority: Authority, given: Any) -> None:
    (files.directory / "token").write_text("t")
    if given == "certificate":
        pair = authority.client("somebody", "people")
        given = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
    files.load({})
    path = files.directory / "config"
    document = yaml.safe_load(path.read_text())
    document["users"][0]["user"] |= given
    path.write_text(yaml.safe_dump(document))
    assert load_connection(str(path)).provider is None


def test_a_plain_http_server_is_shown_no_credentials(files: Files) -> None:
    assert files.load({}, server="http://here").provider is None


def test_arguments_and_variables_are_in_no_repr(files: Files) -> None:
    connection = files.load({"args": ["--secret=s3cret"], "env": [{"name": "A", "value": "s3cret"}]})
    assert "s3cret" not in f"{connection!r} {connection.exec_plugin!r}"


async def test_a_plugin_that_is_given_up_leaves_no_child(files: Files) -> None:
    mark = files.directory / "started"
    script = f"sleep 1000.5 & echo $! > {mark}.part; mv {mark}.part {mark}; echo waiting >&2; wait"
    source = ObtainedCredential(_plugin_of(files.load({"command": "sh", "args": ["-c", script]})), SYSTEM_CLOCK)
    task = asyncio.create_task(source.current())
    while not mark.exists() or "waiting" not in source.waits_for:
        await asyncio.sleep(0.01)
    assert source.waits_for.endswith("(it says: waiting)")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    child = int(mark.read_text())
    while _lives(child):
        await asyncio.sleep(0.01)


def _plugin_of(connection: Connection) -> ExecPlugin:
    assert connection.exec_plugin is not None
    return connection.exec_plugin


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "sleep" in Path(f"/proc/{pid}/cmdline").read_text()
    return False

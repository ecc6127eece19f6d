"""The battery of kubectl commands on the embedded server and on a real kube-apiserver: they say the same.

Each command runs on both servers at once; what they print is compared without what must differ (`normal`).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

import pytest

from propeller.controller import workflow_crd
from propeller.embedded.server import ApiServer
from propeller.testing import KubeApiserver, real_server
from tests.assets import binary
from tests.integration.kubectl.battery import COMMANDS, LOOKING
from tests.integration.kubectl.conftest import DEADLINE, Kubectl

pytestmark = pytest.mark.needs("kubectl")

UNLIKE = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"(?i)resource ?version\W+\d+"), "VERSION"),
    (re.compile(r"/tmp/(LIVE|MERGED)-\d+"), "DIRECTORY"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [+-]\d{4}"), "TIME"),
    (re.compile(r"^[EIW]\d{4} [\d:.]+ +\d+ \w+\.go:\d+\].*\n", re.MULTILINE), ""),  # kubectl's log, of its own races
    (re.compile(r"(v\d+\.\d+\.\d+)\+propeller"), r"\1"),
    (re.compile(r"\b\d+m?\d*s\b"), "AGE"),
    (re.compile(r"https?://127\.0\.0\.1:\d+(/[-\w]{43})?"), "SERVER"),
)
"""What two servers never have alike."""

ALLOWED = {
    "get pods -l a=b=c": "the reason of a syntax error is worded by another parser",
    'patch pod web -p {"spec":{"nodeName":"x"}}': "Go shows the whole difference of its structs, we the fields' names",
    'create -f - << {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"u"},"data":{"a":1}}': (
        "Go names the map in which a value has the wrong type, we the key as well"
    ),
}
"""Commands that may print something else, and why; they still end alike."""


def normal(text: str, namespace: str) -> str:
    for pattern, name in UNLIKE:
        text = pattern.sub(name, text)
    text = text.replace(namespace, "NAMESPACE")
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


async def said(kubeconfig: Path, namespace: str, command: str) -> str:
    """The exit code, and all that the command printed."""
    words, _, given = command.replace("NAMESPACE", namespace).partition(" << ")
    process = await asyncio.create_subprocess_exec(
        *(str(binary("kubectl")), f"--kubeconfig={kubeconfig}", f"--cache-dir={kubeconfig.parent / kubeconfig.stem}"),
        *(() if " -n " in command else ("-n", namespace)),
        *words.split(" "),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "HOME": "/nonexistent", "KUBE_EDITOR": "sed -i s/to-edit/edited/"},
    )
    try:
        async with asyncio.timeout(DEADLINE):
            out, _ = await process.communicate(given.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return f"{process.returncode}: {normal(out.decode(), namespace)}"


@pytest.mark.parametrize("commands", [COMMANDS, LOOKING], ids=["writing", "looking"])
async def test_the_embedded_server_says_what_the_real_one_says(
    commands: list[str], kubectl: Kubectl, server: ApiServer, kube_apiserver: KubeApiserver, tmp_path: Path
) -> None:
    embedded = tmp_path / "kubeconfig"
    async with real_server(kube_apiserver) as face:
        real = kube_apiserver.kubeconfig(tmp_path / "real")
        crd = json.dumps(workflow_crd())
        await asyncio.gather(said(real, "default", f"apply -f - << {crd}"), kubectl("create", "ns", face.namespace))
        await said(real, "default", "wait --for=condition=Established crd/flyteworkflows.flyte.lyft.com")
        unlike = []
        for command in commands:
            ours, theirs = await asyncio.gather(
                said(embedded, face.namespace, command), said(real, face.namespace, command)
            )
            if command in ALLOWED:
                ours, theirs = ours[:2], theirs[:2]
            if ours != theirs:
                unlike.append(f"$ kubectl {command[:100]}\nembedded {ours}\nreal     {theirs}\n")
    assert not unlike, "\n".join(unlike)

"""kubectl beside a run on this machine: the embedded cluster is one that it knows."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import assets
from tests.e2e.conftest import Propeller

FLOW = """
import time

@task
def nap(x: int) -> int:
    time.sleep(3)
    return x + 1

@workflow
def naps(x: int = 1) -> int:
    return nap(x=nap(x=x))
"""


def started(kubeconfig: Path, *words: str) -> subprocess.Popen[str]:
    command = [str(assets.binary("kubectl")), "--kubeconfig", str(kubeconfig), "--cache-dir", str(kubeconfig.parent)]
    return subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.needs("embedded", "kubectl", "flytekit")
def test_kubectl_watches_workflows_and_pods_during_a_run(propeller: Propeller, flow: Callable[[str], Path]) -> None:
    kubeconfig = propeller.home / "kubeconfig"
    run = propeller.start("run", flow(FLOW), "naps", "--serve", kubeconfig, "--python", sys.executable)
    until = time.monotonic() + 60
    while not kubeconfig.exists() or not kubeconfig.read_text():
        assert time.monotonic() < until, "the cluster is not served"
        time.sleep(0.05)
    both = started(kubeconfig, "get", "flyteworkflows,pods", "-A")
    watches = [started(kubeconfig, "get", kind, "-A", "-w") for kind in ("flyteworkflows", "pods")]
    shown = both.communicate(timeout=60)[0]
    assert run.wait(timeout=60) == 0
    run.communicate()
    workflows, pods = (watch.communicate(timeout=60)[0] for watch in watches)
    assert "flyteworkflow.flyte.lyft.com/" in shown
    assert "Running" in workflows
    assert "Succeeded" in workflows
    assert "n0-0" in pods
    assert "n1-0" in pods
    assert "Completed" in pods
    assert not kubeconfig.exists()
